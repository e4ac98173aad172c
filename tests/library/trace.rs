//! Traces: what is in them, and that `compare` finds where two trainings part.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{assert_refused, checkout, islp_mnist, program, python, small_mnist, stdout_of, train};
use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

/// `compare` with these arguments.
fn compare(folder: &TempDir, arguments: &[&str]) -> Output {
    islp_mnist().current_dir(folder).arg("compare").args(arguments).output().expect("the program starts")
}

/// What `compare` says of two traces.
fn told(folder: &TempDir, reference: &str, candidate: &str) -> String {
    String::from_utf8(compare(folder, &[reference, candidate]).stdout).unwrap()
}

/// The first difference between two traces, as JSON.
fn first_difference(folder: &TempDir, reference: &str, candidate: &str) -> Value {
    let json: Value =
        serde_json::from_slice(&compare(folder, &["--json", reference, candidate]).stdout).unwrap();
    json["files"][0]["first_difference"].clone()
}

/// Two epochs of seven steps, as tests/partings.py has them; the folder of the run.
fn trace(folder: impl AsRef<Path>, file: &str, options: &[&str]) -> String {
    let fixed = ["--seed", "3", "--batch-size", "48", "--num-workers", "0", "--no-progress", "--trace", file];
    stdout_of(&mut train(folder, &[&fixed[..], options].concat())).trim_end().to_string()
}

/// The lines of a trace.
fn lines(folder: &TempDir, file: &str) -> Vec<String> {
    fs::read_to_string(folder.path().join(file)).unwrap().lines().map(String::from).collect()
}

const KEEP: [&str; 4] = ["--epochs", "2", "--trace-steps", "0..13"];

#[test]
#[ignore = "needs the Python reference"]
fn where_a_training_parts_from_pythons_is_found_at_its_step_and_quantity() {
    let folder = small_mnist();
    trace(&folder, "rust.trace", &KEEP);
    let mut command = python("tests/partings.py");
    stdout_of(command.current_dir(&folder).args(["data", "."]).env("OMP_NUM_THREADS", "1"));
    assert_snapshot!(told(&folder, "same.trace", "rust.trace"), @"
    same.trace and rust.trace: identical (14 steps)
    identical: 1 file, 0 tensors, 14 steps traced, 0 differences
    ");
    let beginning = |name: &str, lines: usize| {
        let told = told(&folder, &format!("{name}.trace"), "rust.trace");
        let lines: Vec<_> = told.lines().skip(1).take(lines).map(str::trim_start).collect();
        lines.join("\n")
    };
    assert_snapshot!(beginning("flip", 3).split("reference 0").next().unwrap(), @"
    first difference in fit 0 (MNISTModel), epoch 1, step 9: layer2.0.weight, as it was before the step
    something other than a step changed it after the previous step, in the reference only
    1 of 32768 values differs; first at [3, 5]:
    ");
    assert_snapshot!(beginning("flip_gradient", 2).split(": reference").next().unwrap(), @"
    first difference in fit 0 (MNISTModel), epoch 0, step 4: grad.layer1.1.bias
    1 of 256 values differs; first at [7]
    ");
    assert_snapshot!(beginning("flip_at_the_end", 2), @"
    first difference in fit 0 (MNISTModel), epoch 1, step 14: _forward.2.bias, as it was when the training ended
    something other than a step changed it after the previous step, in the reference only
    ");
    assert_snapshot!(beginning("swap", 2), @"
    first difference in fit 0 (MNISTModel), epoch 1, step 8: generator.state, as it was before the step
    something other than a step changed it after the previous step, in the reference only
    ");
    assert_snapshot!(beginning("swap_inside", 1), @"first difference in fit 0 (SwapInside), epoch 0, step 0: logits");
    assert_snapshot!(beginning("drop_last", 2), @"
    first difference in fit 0 (MNISTModel), epoch 1, step 6, which is in epoch 0 in the candidate: their epochs differ in length
    only in the candidate: steps 12 to 13 of fit 0 (MNISTModel)
    ");
    assert_snapshot!(beginning("bound", 1), @"first difference in fit 0 (OtherBound), epoch 0, step 0: _forward.2.weight, as it was before the step");
    let momentum = told(&folder, "momentum.trace", "rust.trace");
    assert!(momentum.contains("epoch 0, step 0: layer1.1.weight\n"), "{momentum}");
    assert!(
        momentum.contains("only in the reference: optimizer.momentum_buffer._forward.2.bias, "),
        "{momentum}"
    );

    // Which weights another eps moves depends on the processor; it moves nothing else.
    let eps = first_difference(&folder, "eps.trace", "rust.trace");
    assert_eq!((&eps["at"]["step"], &eps["is_before"]), (&0.into(), &false.into()), "{eps}");
    let same: Vec<&str> = eps["same"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for same_as_ever in
        ["loss", "grad.layer1.1.weight", "optimizer.square_avg.layer1.1.weight", "generator.state"]
    {
        assert!(same.contains(&same_as_ever), "{eps}");
    }
    let moved = eps["quantity"].as_str().unwrap();
    assert!(moved.starts_with("layer") || moved.starts_with("_forward"), "{eps}");
}

#[test]
#[ignore = "needs the Python reference"]
fn traces_of_the_notebook_are_pythons_where_the_loss_is_no_number_too() {
    let folder = small_mnist();
    for (name, options) in
        [("usual", "--epochs 2 --batch-size 48"), ("nan", "--epochs 2 --lr 1e30 --batch-size 100")]
    {
        let side = |side: &str| {
            format!("{options} --data-dir data --output-dir {name}/{side} --trace {side}_{name}.trace")
        };
        let mut notebook = python("scripts/notebook.py");
        notebook.current_dir(&folder).env("OMP_NUM_THREADS", "1");
        stdout_of(notebook.args(side("python").split_whitespace()));
        program(&folder, &format!("reproduce --device cpu --no-progress {}", side("rust")))
            .assert()
            .success();
        let told = told(&folder, &format!("python_{name}.trace"), &format!("rust_{name}.trace"));
        assert!(told.contains("\nidentical: 1 file, 0 tensors, "), "{told}");
    }
    let is_nan = |line: &String| line.contains("\"min\":\"nan\"");
    assert!(lines(&folder, "rust_nan.trace").iter().any(is_nan), "a loss that is no number is traced");
}

#[test]
#[ignore = "needs the Python reference"]
fn a_training_of_ones_own_leaves_the_trace_that_it_leaves_in_python() {
    let folder = tempfile::tempdir().unwrap();
    // With -I Python does not know PYTHONPATH.
    let code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2])";
    let mut command = Command::new(checkout().join(".venv/bin/python"));
    command.current_dir(&folder).args(["-I", "-c", code]).env("CUDA_VISIBLE_DEVICES", "");
    stdout_of(command.arg(checkout().join("scripts")).arg(checkout().join("tests/own_training.py")));
    let example = Path::new(env!("CARGO_BIN_EXE_islp-mnist")).with_file_name("examples").join("trace");
    stdout_of(Command::new(example).current_dir(&folder));
    assert_snapshot!(told(&folder, "python.trace", "rust.trace"), @"
    python.trace and rust.trace: identical (8 steps)
    identical: 1 file, 0 tensors, 8 steps traced, 0 differences
    ");
}

#[test]
#[ignore = "needs the Python reference"]
fn modules_of_many_kinds_leave_traces_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    stdout_of(python("tests/traced_modules.py").current_dir(&folder).env("OMP_NUM_THREADS", "1"));
    for (name, steps) in [("parts", 20), ("accumulated", 20), ("two_optimizers", 20), ("failing", 6)] {
        let trace = format!("{name}.trace");
        let told = told(&folder, &trace, &trace);
        assert!(told.contains(&format!("identical ({steps} steps)\n")), "{told}");
    }
}

#[test]
fn a_trace_changes_nothing_of_a_run_and_two_runs_alike_leave_the_same_trace() {
    let folder = small_mnist();
    let traced = trace(&folder, "a.trace", &KEEP);
    trace(&folder, "b.trace", &KEEP);
    let plain = ["--seed", "3", "--batch-size", "48", "--num-workers", "0", "--no-progress", "--epochs", "2"];
    let plain = stdout_of(&mut train(&folder, &plain)).trim_end().to_string();
    assert_eq!(
        fs::read(folder.path().join("a.trace")).unwrap(),
        fs::read(folder.path().join("b.trace")).unwrap()
    );
    for file in ["metrics.csv", "model.safetensors"] {
        let bytes = |run: &str| fs::read(folder.path().join(run).join(file)).unwrap();
        assert_eq!(bytes(&traced), bytes(&plain), "{file}");
    }
}

#[test]
fn a_step_holds_every_quantity_in_the_order_in_which_they_come_about() {
    let folder = small_mnist();
    trace(&folder, "mlr.trace", &["--model", "mlr", "--epochs", "1"]);
    let names = |list: &Value| {
        let names: Vec<_> =
            list.as_array().unwrap().iter().map(|quantity| quantity["name"].as_str().unwrap()).collect();
        names.join(" ")
    };
    let steps: Vec<Value> =
        lines(&folder, "mlr.trace")[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, steps) = steps.split_last().unwrap();
    assert_eq!(
        (steps.len(), names(&end["quantities"]).as_str(), names(&end["before"]).as_str()),
        (7, "", "generator.state")
    );
    assert_eq!(names(&steps[0]["before"]), "linear.1.weight linear.1.bias generator.state");
    let quantities = "input target logits loss grad.linear.1.bias grad.linear.1.weight \
                      optimizer.square_avg.linear.1.weight optimizer.square_avg.linear.1.bias \
                      linear.1.weight linear.1.bias generator.state";
    for (step, line) in steps.iter().enumerate() {
        assert_eq!((&line["fit"], &line["epoch"], &line["step"]), (&0.into(), &0.into(), &step.into()));
        assert_eq!(names(&line["quantities"]), quantities);
        assert_eq!(line["before"].as_array().unwrap().is_empty(), step > 0);
    }
    let rows: usize =
        steps.iter().map(|step| step["quantities"][0]["shape"][0].as_u64().unwrap() as usize).sum();
    assert_eq!(rows, 320, "every training image once");
}

#[test]
fn of_a_trace_that_was_cut_off_the_whole_steps_count() {
    let folder = small_mnist();
    trace(&folder, "whole.trace", &["--epochs", "1"]);
    let whole = lines(&folder, "whole.trace");
    let cut = format!("{}\n{}", whole[..4].join("\n"), &whole[4][..100]);
    fs::write(folder.path().join("cut.trace"), cut).unwrap();
    assert_snapshot!(told(&folder, "whole.trace", "cut.trace"), @"
    whole.trace and cut.trace: the same in the 3 steps that both have
        only in the reference: steps 3 to 6 of fit 0 (MNISTModel)
        the candidate ends within a step: the run was stopped while writing it
    different: 1 of 1 file, 0 of 0 tensors
    ");
}

#[test]
fn the_trace_of_a_run_that_goes_on_is_compared_from_where_it_begins() {
    let folder = small_mnist();
    trace(&folder, "whole.trace", &["--epochs", "2"]);
    let run = trace(&folder, "first.trace", &["--epochs", "1"]);
    stdout_of(&mut train(
        &folder,
        &["--resume", &run, "--epochs", "2", "--trace", "rest.trace", "--no-progress"],
    ));
    assert_snapshot!(told(&folder, "whole.trace", "rest.trace"), @"
    whole.trace and rest.trace: the same in the 7 steps that both have
        only in the reference: steps 0 to 6 of fit 0 (MNISTModel)
    different: 1 of 1 file, 0 of 0 tensors
    ");
}

#[test]
fn another_model_parts_in_what_it_has() {
    let folder = small_mnist();
    trace(&folder, "mlp.trace", &["--epochs", "1"]);
    trace(&folder, "mlr.trace", &["--epochs", "1", "--model", "mlr"]);
    let told = told(&folder, "mlp.trace", "mlr.trace");
    assert!(told.contains("epoch 0, step 0: generator.state, as it was before the step\n"), "{told}");
    assert!(told.contains("quantities only in the reference: _forward.2.bias, "), "{told}");
    assert!(told.contains("quantities only in the candidate: grad.linear.1.bias, "), "{told}");
}

#[test]
fn of_quantities_with_one_name_the_first_is_compared_with_the_first() {
    let folder = small_mnist();
    trace(&folder, "a.trace", &["--epochs", "1", "--model", "mlr"]);
    // As from two networks, whose losses have one name.
    let twice: Vec<_> =
        lines(&folder, "a.trace").iter().map(|line| line.replace("\"target\"", "\"loss\"")).collect();
    fs::write(folder.path().join("twice.trace"), twice.join("\n") + "\n").unwrap();
    assert!(told(&folder, "twice.trace", "twice.trace").contains("identical (7 steps)"));
    assert!(told(&folder, "twice.trace", "a.trace").contains("step 0: loss\n"));
}

#[test]
fn tensors_that_were_not_kept_are_told_by_their_numbers_and_how_to_keep_them() {
    let folder = small_mnist();
    trace(&folder, "a.trace", &["--epochs", "1"]);
    trace(&folder, "b.trace", &["--epochs", "1", "--lr", "0.02"]);
    let output = compare(&folder, &["a.trace", "b.trace"]);
    let (told, hint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("epoch 0, step 0: layer1.1.weight\n    reference: from "), "{told}");
    assert_eq!(
        hint,
        "note: traces of both sides with --trace-steps 0..2 keep the tensors around this step\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_changes_behind_the_last_step_is_found_at_the_end_of_the_training() {
    let (x, y) = (("w", "uint8", "[1]", "AA=="), ("w", "uint8", "[1]", "AQ=="));
    let end = |before: &str| line(1, &[]).replace(r#""before":[]"#, &format!(r#""before":[{before}]"#));
    let changed = line(0, &[y])
        .split_once(r#""quantities":["#)
        .unwrap()
        .1
        .split_once("],\"sketch\"")
        .unwrap()
        .0
        .to_string();
    let (told, code) = of_lines(&[line(0, &[x]), end("")], &[line(0, &[x]), end(&changed)]);
    assert!(told.contains("1 step the same, then they differ\n"), "{told}");
    assert!(told.contains("step 1: w, as it was when the training ended\n"), "{told}");
    assert!(told.contains("after the previous step, in the candidate only\n") && code == Some(1), "{told}");
    // A run that was stopped has no end.
    assert_eq!(of_lines(&[line(0, &[x]), end("")], &[line(0, &[x])]).1, Some(0));
}

#[test]
fn a_trace_goes_into_a_new_file_that_can_be_written() {
    let folder = small_mnist();
    fs::write(folder.path().join("old.trace"), "mine").unwrap();
    for command in ["train", "reproduce"] {
        assert_refused(
            &mut program(&folder, &format!("{command} --trace old.trace")),
            1,
            &["old.trace", "--trace"],
        );
        assert_refused(&mut program(&folder, &format!("{command} --trace no/a.trace")), 1, &["no/a.trace"]);
        assert_refused(&mut program(&folder, &format!("{command} --trace-steps 1..2")), 2, &["--trace"]);
    }
    assert_eq!(fs::read_to_string(folder.path().join("old.trace")).unwrap(), "mine");
    assert!(!folder.path().join("output").exists(), "nothing else was begun");
}

#[test]
fn what_is_no_trace_is_not_compared() {
    let folder = small_mnist();
    trace(&folder, "a.trace", &["--epochs", "1"]);
    let whole = lines(&folder, "a.trace").join("\n") + "\n";
    let written = |content: &str| {
        fs::write(folder.path().join("b.trace"), content).unwrap();
        let output = compare(&folder, &["a.trace", "b.trace"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        told.lines().next().unwrap().rsplit_once("b.trace").unwrap().1.to_string()
    };
    let header = "{\"trace\":1,\"written_by\":\"me\"}\n";
    let told = [
        written(""),
        written("{\"trace\":1"),
        written("epoch,step\r\n"),
        written("{\"trace\":2,\"new\":true}\n"),
        written(&format!("{header}{{}}\n")),
        written(&format!("{header}\u{1b}[31m\n")),
        written(&whole.replacen("\"min\":", "\"min\":\"x\",\"m\":", 1)),
    ];
    assert_snapshot!(told.join("\n"), @r"
    : not a trace: its first line is not whole
    : not a trace: its first line is not whole
    : not a trace: it begins with epoch,step\r
    : a trace of format 2, which this version does not read
    , line 2: missing field `fit`
    , line 2: expected value
    , line 2: not a number
    ");
    for name in ["a.trace", "b.trace"] {
        fs::write(folder.path().join(name), header).unwrap();
    }
    let empty = compare(&folder, &["a.trace", "b.trace"]);
    assert_eq!(empty.status.code(), Some(2), "without a step nothing is proved: {empty:?}");
}

/// A line of a trace with one quantity before the step, and these in it.
fn line(step: usize, quantities: &[(&str, &str, &str, &str)]) -> String {
    let quantities: Vec<_> = quantities
        .iter()
        .map(|(name, kind, shape, data)| {
            format!(
                r#"{{"name":"{name}","kind":"{kind}","shape":{shape},"xxh3":"{data}","min":0,"max":true,"mean":0,"data":"{data}"}}"#
            )
        })
        .collect();
    let quantities = quantities.join(",");
    format!(
        r#"{{"fit":0,"model":"M","epoch":0,"step":{step},"before":[],"quantities":[{quantities}],"sketch":""}}"#
    )
}

/// What `compare` says of two traces of these lines, and its exit code.
fn of_lines(reference: &[String], candidate: &[String]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in [("a.trace", reference), ("b.trace", candidate)] {
        let text = format!("{{\"trace\":1}}\n{}\n", lines.join("\n"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = compare(&folder, &["a.trace", "b.trace"]);
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn tensors_that_are_not_what_they_say_are_told_by_their_numbers() {
    for (kind, shape) in
        [("float32", "[0]"), ("float32", "[2]"), ("float32", "[4611686018427387904,4]"), ("what", "[1]")]
    {
        let [a, b] = ["AAAAAA==", "AAAAAQ=="].map(|data| [line(0, &[("x", kind, shape, data)])]);
        let (told, code) = of_lines(&a, &b);
        assert!(told.contains("step 0: x\n    reference: from 0.0 to 1.0") && code == Some(1), "{told}");
    }
}

#[test]
fn kept_tensors_of_whole_numbers_are_told_by_value() {
    let [a, b] = ["AQI=", "AQM="].map(|data| [line(0, &[("target", "uint8", "[2]", data)])]);
    let (told, _) = of_lines(&a, &b);
    assert!(told.contains("1 of 2 values differs; first at [1]: reference 2, candidate 3\n"), "{told}");
}

#[test]
fn what_only_one_side_has_hides_no_difference_in_what_both_have() {
    let (x, y, buffer) =
        (("x", "uint8", "[1]", "AA=="), ("x", "uint8", "[1]", "AQ=="), ("mean", "uint8", "[1]", "AA=="));
    let (told, code) =
        of_lines(&[line(0, &[buffer, x]), line(1, &[buffer, x])], &[line(0, &[x]), line(1, &[y])]);
    assert_eq!(code, Some(1));
    assert_snapshot!(told, @"
    a.trace and b.trace: 1 step the same, then they differ
        first difference in fit 0 (M), epoch 0, step 1: x
        1 of 1 value differs; first at [0]: reference 0, candidate 1
        the same in this step: nothing
        also different: nothing
        quantities only in the reference: mean
         epoch    step     reference     candidate    difference      distance
             0       1             -             -             -             -
        loss of both and their difference; distance of all parameters, estimated within 9 % or so
    different: 1 of 1 file, 0 of 0 tensors
    ");
    let (told, code) = of_lines(&[line(0, &[buffer, x])], &[line(0, &[x])]);
    assert!(
        told.contains("the same in the quantities that both have, in 1 step\n") && code == Some(1),
        "{told}"
    );
}

#[test]
fn of_batches_whose_gradients_are_accumulated_each_is_compared() {
    let (x, y) = (("loss", "uint8", "[1]", "AA=="), ("loss", "uint8", "[1]", "AQ=="));
    let a = [line(0, &[x]), line(0, &[x]), line(1, &[x]), line(1, &[x])];
    let b = [line(0, &[x]), line(0, &[y]), line(1, &[y]), line(1, &[y])];
    let (told, _) = of_lines(&a, &b);
    assert!(told.contains("b.trace: 1 step the same, then they differ\n"), "{told}");
    assert_eq!(
        told.lines().filter(|line| line.starts_with("         0 ")).count(),
        2,
        "a row a step: {told}"
    );
    let (told, _) = of_lines(&a, &a[..1]);
    assert_eq!(told.matches("only in the reference").count(), 1, "{told}");
}

#[test]
fn two_traces_that_are_cut_off_are_not_called_identical() {
    let folder = small_mnist();
    trace(&folder, "a.trace", &["--epochs", "1"]);
    let whole = fs::read_to_string(folder.path().join("a.trace")).unwrap();
    fs::write(folder.path().join("a.trace"), &whole[..whole.len() - 2]).unwrap();
    let output = compare(&folder, &["a.trace", "a.trace"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("could not compare to the end: the same in 7 steps\n")
    );
}

#[test]
fn what_wraps_a_model_does_not_count_in_a_trace() {
    let names = |wrapper: &str, frozen: &str| {
        [
            format!("grad.{wrapper}w"),
            format!("optimizer.square_avg.{wrapper}w"),
            format!("{wrapper}w"),
            frozen.to_owned(),
        ]
    };
    let trace = |names: [String; 4]| {
        let quantities = names.each_ref().map(|name| (name.as_str(), "float32", "[1]", "AAAAAA=="));
        [line(0, &quantities)]
    };
    for wrapper in ["module.", "model._orig_mod."] {
        let frozen = format!("{wrapper}frozen");
        let (told, code) = of_lines(&trace(names("", "frozen")), &trace(names(wrapper, &frozen)));
        assert_eq!(code, Some(0), "{told}");
    }
    // Two names that become one.
    let (told, code) = of_lines(&trace(names("", "frozen")), &trace(names("module.", "w")));
    assert!(code == Some(2) && told.contains("b.trace, line 2: module.w and w are one name, w,"), "{told}");
}

#[test]
fn numbers_of_every_kind_that_a_trace_keeps_have_their_distance() {
    let kept = |kind: &str, data: &str| [line(0, &[("x", kind, "[1]", data)])];
    for (kind, a, b, values) in [
        ("float16", "ADw=", "ATw=", "reference 1.0, candidate 1.0009766 (1 ULP)"),
        ("bfloat16", "gD8=", "gT8=", "reference 1.0, candidate 1.0078125 (1 ULP)"),
        ("int8", "/w==", "AQ==", "reference -1, candidate 1"),
        ("int16", "//8=", "AQA=", "reference -1, candidate 1"),
        ("uint16", "//8=", "AQA=", "reference 65535, candidate 1"),
    ] {
        let (told, code) = of_lines(&kept(kind, a), &kept(kind, b));
        assert!(told.contains(values) && code == Some(1), "{kind}: {told}");
    }
}
