//! Traces: what is in them, and that `compare` finds where two trainings begin to differ.

mod tolerance;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::python::python_output;
use crate::common::{Lab, islp_mnist, python, stdout_of};
use crate::compare::compare_paths;
use insta::assert_snapshot;
use serde_json::Value;

/// The report on two traces in a folder, and the exit code.
fn compare(folder: &Path, reference: &str, candidate: &str) -> (String, i32) {
    compare_with(folder, reference, candidate, "")
}

fn compare_with(folder: &Path, reference: &str, candidate: &str, options: &str) -> (String, i32) {
    let (text, code) = compare_paths(&folder.join(reference), &folder.join(candidate), options);
    (text.replace(&format!("{}/", folder.display()), ""), code)
}

fn report(folder: &Path, reference: &str, candidate: &str) -> String {
    compare(folder, reference, candidate).0
}

/// Trains in steps of 48 images, seven an epoch, as tests/partings.py does; the folder of the run.
fn trace(lab: &Lab, file: &str, options: &str) -> String {
    lab.train(&format!("--seed 3 --batch-size 48 --num-workers 0 --trace {file} {options}"))
}

const KEEP: &str = "--epochs 2 --trace-steps 0..13";

#[test]
#[ignore = "needs the Python reference"]
fn the_step_and_quantity_where_a_training_departs_from_pythons_are_found() {
    let lab = Lab::new();
    trace(&lab, "rust.trace", KEEP);
    python_output(lab.path(), "tests/partings.py", "data .");
    let report = |name: &str| report(lab.path(), &format!("{name}.trace"), "rust.trace");
    assert_snapshot!(report("same"), @"
    same.trace and rust.trace: identical (14 steps)
    identical: 1 file, 0 tensors, 14 steps traced, 0 differences
    ");
    let beginning = |name: &str, lines: usize| {
        let lines: Vec<_> =
            report(name).lines().skip(1).take(lines).map(|line| line.trim_start().to_owned()).collect();
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
    assert_snapshot!(beginning("swap_inside", 1), @"first difference in fit 0 (SwapInside), epoch 0, step 0: forward.layer2.0");
    assert_snapshot!(beginning("drop_last", 2), @"
    first difference in fit 0 (MNISTModel), epoch 1, step 6, which is in epoch 0 in the candidate: their epochs differ in length
    only in the candidate: steps 12 to 13 of fit 0 (MNISTModel)
    ");
    assert_snapshot!(beginning("bound", 1), @"first difference in fit 0 (OtherBound), epoch 0, step 0: _forward.2.weight, as it was before the step");
    let momentum = report("momentum");
    assert!(momentum.contains("epoch 0, step 0: layer1.1.weight\n"), "{momentum}");
    let only = "only in the reference: optimizer.momentum_buffer._forward.2.bias, ";
    assert!(momentum.contains(only), "{momentum}");

    // Which weights another eps moves depends on the processor; it moves nothing else.
    let [eps, rust] = ["eps.trace", "rust.trace"].map(|file| lab.path().join(file));
    let json: Value = serde_json::from_str(&compare_paths(&eps, &rust, "--json").0).unwrap();
    let eps = &json["files"][0]["first_difference"];
    assert_eq!((&eps["at"]["step"], &eps["is_before"]), (&0.into(), &false.into()), "{eps}");
    let same = eps["same"].as_array().unwrap();
    for unmoved in ["loss", "grad.layer1.1.weight", "optimizer.square_avg.layer1.1.weight", "generator.state"]
    {
        assert!(same.contains(&unmoved.into()), "{eps}");
    }
    let moved = eps["quantity"].as_str().unwrap();
    assert!(moved.starts_with("layer") || moved.starts_with("_forward"), "{eps}");
}

#[test]
#[ignore = "needs the Python reference"]
fn traces_of_the_notebook_are_pythons_even_where_the_loss_is_nan() {
    let lab = Lab::new();
    for (name, options) in [
        ("usual", "--epochs 2 --batch-size 48"),
        ("nan", "--epochs 2 --lr 1e30 --batch-size 100 --trace-output-gradients --trace-skip forward.*"),
    ] {
        let side = |side: &str| {
            format!("{options} --data-dir data --output-dir {name}/{side} --trace {side}_{name}.trace")
        };
        python_output(lab.path(), "scripts/notebook.py", &side("python"));
        lab.stdout(&format!("reproduce --device cpu {}", side("rust")));
        let report = report(lab.path(), &format!("python_{name}.trace"), &format!("rust_{name}.trace"));
        assert!(report.contains("\nidentical: 1 file, 0 tensors, "), "{report}");
    }
    let nan = lab.text("rust_nan.trace");
    assert!(nan.contains("\"min\":\"nan\""), "a loss that is NaN is traced");
    assert!(nan.contains("\"grad.forward.layer1.1\"") && !nan.contains("\"forward."), "as the options say");
}

#[test]
#[ignore = "needs the Python reference"]
fn a_training_of_ones_own_leaves_the_same_trace_as_in_python() {
    let folder = tempfile::tempdir().unwrap();
    stdout_of(python("tests/own_training.py").current_dir(&folder));
    let example = Path::new(env!("CARGO_BIN_EXE_islp-mnist")).with_file_name("examples").join("trace");
    stdout_of(Command::new(example).current_dir(&folder));
    assert_snapshot!(report(folder.path(), "python.trace", "rust.trace"), @"
    python.trace and rust.trace: identical (8 steps)
    identical: 1 file, 0 tensors, 8 steps traced, 0 differences
    ");
}

#[test]
#[ignore = "needs the Python reference"]
fn modules_of_many_kinds_leave_traces_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    python_output(folder.path(), "tests/traced_modules.py", "");
    let kinds = [("parts", 20), ("accumulated", 20), ("two_optimizers", 20), ("failing", 6), ("layers", 20)];
    for (name, steps) in kinds {
        let trace = format!("{name}.trace");
        let report = report(folder.path(), &trace, &trace);
        assert!(report.contains(&format!("identical ({steps} steps)\n")), "{report}");
    }
    let report = report(folder.path(), "lightning.trace", "loop.trace");
    assert!(report.contains("identical (20 steps)\n"), "a plain loop is traced as Lightning is: {report}");
}

#[test]
fn a_trace_changes_nothing_of_a_run_and_is_the_same_for_equal_runs() {
    let lab = Lab::new();
    let traced = trace(&lab, "a.trace", KEEP);
    trace(&lab, "b.trace", KEEP);
    assert_eq!(lab.read("", "a.trace"), lab.read("", "b.trace"));
    let plain = lab.train("--seed 3 --batch-size 48 --num-workers 0 --epochs 2");
    lab.assert_same_numbers(&traced, &plain, "traced");
}

#[test]
fn a_step_has_every_quantity_in_the_order_of_its_computation() {
    let lab = Lab::new();
    trace(&lab, "mlr.trace", "--model mlr --epochs 1");
    let names = |list: &Value| {
        let names = list.as_array().unwrap().iter().map(|quantity| quantity["name"].as_str().unwrap());
        names.collect::<Vec<_>>().join(" ")
    };
    let text = lab.text("mlr.trace");
    let steps: Vec<Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, steps) = steps.split_last().unwrap();
    assert_eq!((steps.len(), names(&end["quantities"]).as_str()), (7, ""));
    assert_eq!(names(&end["before"]), "generator.state");
    assert_eq!(names(&steps[0]["before"]), "linear.1.weight linear.1.bias generator.state");
    let quantities = "input target forward.linear.0 forward.linear.1 logits loss \
                      grad.linear.1.bias grad.linear.1.weight \
                      optimizer.square_avg.linear.1.weight optimizer.square_avg.linear.1.bias \
                      linear.1.weight linear.1.bias generator.state";
    for (step, line) in steps.iter().enumerate() {
        assert_eq!((&line["fit"], &line["epoch"], &line["step"]), (&0.into(), &0.into(), &step.into()));
        assert_eq!(names(&line["quantities"]), quantities);
        assert_eq!(line["before"].as_array().unwrap().is_empty(), step > 0);
    }
    let rows: u64 = steps.iter().map(|step| step["quantities"][0]["shape"][0].as_u64().unwrap()).sum();
    assert_eq!(rows, 320, "every training image once");
}

#[test]
fn a_trace_has_the_outputs_of_all_layers_and_on_demand_their_gradients_without_what_is_skipped() {
    let lab = Lab::new();
    let names = |file: &str| -> String {
        let text = lab.text(file);
        let step: Value = serde_json::from_str(text.lines().nth(2).unwrap()).unwrap();
        let names =
            step["quantities"].as_array().unwrap().iter().map(|quantity| quantity["name"].as_str().unwrap());
        names.filter(|name| name.contains("forward.l") || *name == "loss").collect::<Vec<_>>().join(" ")
    };
    trace(&lab, "all.trace", "--epochs 1 --trace-output-gradients");
    assert_eq!(
        names("all.trace"),
        "forward.layer1.0 forward.layer1.1 forward.layer1.2 forward.layer1.3 forward.layer2.0 forward.layer2.1 \
         forward.layer2.2 loss grad.forward.layer2.2 grad.forward.layer2.1 \
         grad.forward.layer2.0 grad.forward.layer1.3 grad.forward.layer1.2 grad.forward.layer1.1"
    );
    trace(
        &lab,
        "some.trace",
        "--epochs 1 --trace-skip forward.layer* --trace-skip loss --trace-skip *.weight",
    );
    assert_eq!(names("some.trace"), "");
    let some = lab.text("some.trace");
    assert!(some.contains("\"forward._forward.2\""), "only those that match are left out");
    assert!(!some.contains(".weight\"") && some.contains("\"grad.layer1.1.bias\""));
    // The wrapper's prefix and the parameters' distance are told from parameters, not from layers.
    let (report, code) = compare_with(lab.path(), "all.trace", "some.trace", "--rtol 0");
    assert!(
        report.contains(": the same in the quantities that both have, in 7 steps\n") && code == 0,
        "{report}"
    );
}

#[test]
fn only_the_whole_steps_of_a_trace_that_was_cut_off_count() {
    let lab = Lab::new();
    trace(&lab, "whole.trace", "--epochs 1");
    let text = lab.text("whole.trace");
    let whole: Vec<&str> = text.lines().collect();
    lab.write("cut.trace", format!("{}\n{}", whole[..4].join("\n"), &whole[4][..100]));
    assert_snapshot!(report(lab.path(), "whole.trace", "cut.trace"), @"
    whole.trace and cut.trace: the same in the 3 steps that both have
        only in the reference: steps 3 to 6 of fit 0 (MNISTModel)
        the candidate ends within a step: the run was stopped while writing it
    different: 1 of 1 file, 0 of 0 tensors
    ");
    lab.write("cut.trace", &text[..text.len() - 2]);
    let (report, code) = compare(lab.path(), "cut.trace", "cut.trace");
    let reason = "could not compare to the end: the same in the first 7 steps\n";
    assert!(code == 2 && report.contains(reason), "{report}");
}

#[test]
fn the_trace_of_a_resumed_run_is_compared_from_its_beginning() {
    let lab = Lab::new();
    trace(&lab, "whole.trace", "--epochs 2");
    let run = trace(&lab, "first.trace", "--epochs 1");
    lab.train(&format!("--resume {run} --epochs 2 --trace rest.trace"));
    assert_snapshot!(report(lab.path(), "whole.trace", "rest.trace"), @"
    whole.trace and rest.trace: the same in the 7 steps that both have
        only in the reference: steps 0 to 6 of fit 0 (MNISTModel)
    different: 1 of 1 file, 0 of 0 tensors
    ");
}

#[test]
fn another_model_differs_in_its_quantities() {
    let lab = Lab::new();
    trace(&lab, "mlp.trace", "--epochs 1");
    trace(&lab, "mlr.trace", "--epochs 1 --model mlr");
    let report = report(lab.path(), "mlp.trace", "mlr.trace");
    assert!(report.contains("epoch 0, step 0: generator.state, as it was before the step\n"), "{report}");
    assert!(report.contains("quantities only in the reference: _forward.2.bias, "), "{report}");
    assert!(report.contains("quantities only in the candidate: forward.linear.0, "), "{report}");
}

#[test]
fn tensors_that_were_not_kept_are_reported_by_their_numbers_with_a_hint_how_to_keep_them() {
    let lab = Lab::new();
    trace(&lab, "a.trace", "--epochs 1");
    trace(&lab, "b.trace", "--epochs 1 --lr 0.02");
    let mut command = islp_mnist();
    let output = command.current_dir(lab.path()).args(["compare", "a.trace", "b.trace"]).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(stdout.contains("epoch 0, step 0: layer1.1.weight\n    reference: from "), "{stdout}");
    let hint = "note: record both traces with --trace-steps 0..2 to keep the tensors around this step\n";
    assert_eq!((output.status.code(), stderr.as_str()), (Some(1), hint));
}

#[test]
fn a_trace_goes_into_a_new_file_that_can_be_written() {
    let lab = Lab::new();
    lab.write("old.trace", "mine");
    for command in ["train", "reproduce"] {
        lab.assert_refused(&format!("{command} --trace old.trace"), 1, &["old.trace", "--trace"]);
        lab.assert_refused(&format!("{command} --trace no/a.trace"), 1, &["no/a.trace"]);
        lab.assert_refused(&format!("{command} --trace-steps 1..2"), 2, &["--trace"]);
    }
    assert_eq!(lab.text("old.trace"), "mine");
    assert!(!lab.exists("output"), "nothing else was begun");
}

/// A quantity in a line of a trace: name, kind, shape and data, which is the hash too.
type Quantity<'a> = (&'a str, &'a str, &'a str, &'a str);

fn quantities(quantities: &[Quantity]) -> String {
    let quantity = |(name, kind, shape, data): &Quantity| {
        format!(
            r#"{{"name":"{name}","kind":"{kind}","shape":{shape},"xxh3":"{data}","min":0,"max":true,"mean":0,"data":"{data}"}}"#
        )
    };
    quantities.iter().map(quantity).collect::<Vec<_>>().join(",")
}

/// A line of a trace with these quantities before the step and in it.
fn line_with(step: usize, before: &[Quantity], inside: &[Quantity]) -> String {
    let (before, inside) = (quantities(before), quantities(inside));
    format!(r#"{{"fit":0,"model":"M","epoch":0,"step":{step},"before":[{before}],"quantities":[{inside}]}}"#)
}

fn line(step: usize, quantities: &[Quantity]) -> String {
    line_with(step, &[], quantities)
}

/// Two values of a quantity of one byte.
fn bytes(name: &str) -> [Quantity<'_>; 2] {
    ["AA==", "AQ=="].map(|data| (name, "uint8", "[1]", data))
}

/// The report on two traces of these lines, and the exit code.
fn of_lines(reference: &[String], candidate: &[String]) -> (String, i32) {
    of_lines_with(reference, candidate, "")
}

fn of_lines_with(reference: &[String], candidate: &[String], options: &str) -> (String, i32) {
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in [("a.trace", reference), ("b.trace", candidate)] {
        let text = format!("{{\"trace\":1}}\n{}\n", lines.join("\n"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    compare_with(folder.path(), "a.trace", "b.trace", options)
}

#[test]
fn a_file_that_is_not_a_trace_is_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let header = "{\"trace\":1,\"written_by\":\"me\"}\n";
    let whole = format!("{header}{}\n", line(0, &[bytes("x")[0]]));
    fs::write(folder.path().join("a.trace"), &whole).unwrap();
    let reason = |content: &str| {
        fs::write(folder.path().join("b.trace"), content).unwrap();
        let (report, code) = compare(folder.path(), "a.trace", "b.trace");
        assert_eq!(code, 2, "{report}");
        report.lines().next().unwrap().rsplit_once("b.trace").unwrap().1.to_string()
    };
    let reasons = [
        reason(""),
        reason("{\"trace\":1"),
        reason("epoch,step\r\n"),
        reason("{\"trace\":3,\"new\":true}\n"),
        reason(&format!("{header}{{}}\n")),
        reason(&format!("{header}\u{1b}[31m\n")),
        reason(&whole.replacen("\"min\":", "\"min\":\"x\",\"m\":", 1)),
    ];
    assert_snapshot!(reasons.join("\n"), @r"
    : not a trace: its first line is incomplete
    : not a trace: its first line is incomplete
    : not a trace: it begins with epoch,step\r
    : a trace of format 3, which this version does not read
    , line 2: missing field `fit`
    , line 2: expected value
    , line 2: not a number
    ");
    fs::write(folder.path().join("a.trace"), header).unwrap();
    let (report, code) = compare(folder.path(), "a.trace", "a.trace");
    assert_eq!(code, 2, "without a step nothing is proved: {report}");
}

#[test]
fn a_change_after_the_last_step_is_found_at_the_end_of_the_training() {
    let [x, y] = bytes("w");
    let (reference, unchanged) = ([line(0, &[x]), line(1, &[])], [line(0, &[x])]);
    let (report, code) = of_lines(&reference, &[line(0, &[x]), line_with(1, &[y], &[])]);
    assert!(report.contains("the same for 1 step, then different\n"), "{report}");
    assert!(report.contains("step 1: w, as it was when the training ended\n"), "{report}");
    assert!(report.contains("after the previous step, in the candidate only\n") && code == 1, "{report}");
    assert_eq!(of_lines(&reference, &unchanged).1, 0, "a run that was stopped has no end");
}

#[test]
fn tensors_are_reported_by_value_if_they_are_what_they_claim_and_else_by_their_numbers() {
    let by_numbers = "step 0: x\n    reference: from 0.0 to 1.0";
    for (kind, shape, a, b, expected) in [
        ("float16", "[1]", "ADw=", "ATw=", "reference 1.0, candidate 1.0009766 (1 ULP)"),
        ("bfloat16", "[1]", "gD8=", "gT8=", "reference 1.0, candidate 1.0078125 (1 ULP)"),
        ("int8", "[1]", "/w==", "AQ==", "reference -1, candidate 1"),
        ("int16", "[1]", "//8=", "AQA=", "reference -1, candidate 1"),
        ("uint16", "[1]", "//8=", "AQA=", "reference 65535, candidate 1"),
        ("uint8", "[2]", "AQI=", "AQM=", "1 of 2 values differs; first at [1]: reference 2, candidate 3\n"),
        ("float32", "[0]", "AAAAAA==", "AAAAAQ==", by_numbers),
        ("float32", "[2]", "AAAAAA==", "AAAAAQ==", by_numbers),
        ("float32", "[4611686018427387904,4]", "AAAAAA==", "AAAAAQ==", by_numbers),
        ("what", "[1]", "AAAAAA==", "AAAAAQ==", by_numbers),
    ] {
        let [a, b] = [a, b].map(|data| [line(0, &[("x", kind, shape, data)])]);
        let (report, code) = of_lines(&a, &b);
        assert!(report.contains(expected) && code == 1, "{kind}: {report}");
    }
}

#[test]
fn quantities_of_one_name_are_compared_in_their_order() {
    // As two networks write them, whose losses have one name.
    let ([x, y], [other, _]) = (bytes("loss"), bytes("logits"));
    let twice = [line(0, &[x, y])];
    assert!(of_lines(&twice, &twice).0.contains("identical (1 step)"));
    assert!(of_lines(&twice, &[line(0, &[x, other])]).0.contains("quantities only in the reference: loss\n"));
    assert!(of_lines(&twice, &[line(0, &[y, x])]).0.contains("step 0: loss\n"));
}

#[test]
fn quantities_of_one_side_hide_no_difference_in_those_of_both() {
    let ([x, y], [buffer, _]) = (bytes("x"), bytes("mean"));
    let (report, code) =
        of_lines(&[line(0, &[buffer, x]), line(1, &[buffer, x])], &[line(0, &[x]), line(1, &[y])]);
    assert_eq!(code, 1);
    assert_snapshot!(report, @"
    a.trace and b.trace: the same for 1 step, then different
        first difference in fit 0 (M), epoch 0, step 1: x
        1 of 1 value differs; first at [0]: reference 0, candidate 1
        the same in this step: nothing
        also different: nothing
        quantities only in the reference: mean
         epoch    step     reference     candidate    difference      distance
             0       1             -             -             -             -
        loss of both and their difference; distance between all parameters, estimated to within about 18 %
    different: 1 of 1 file, 0 of 0 tensors
    ");
    let (report, code) = of_lines(&[line(0, &[buffer, x])], &[line(0, &[x])]);
    let same = "the same in the quantities that both have, in 1 step\n";
    assert!(code == 1 && report.contains(same), "{report}");
}

#[test]
fn each_batch_whose_gradients_are_accumulated_is_compared() {
    let [x, y] = bytes("loss");
    let a = [line(0, &[x]), line(0, &[x]), line(1, &[x]), line(1, &[x])];
    let b = [line(0, &[x]), line(0, &[y]), line(1, &[y]), line(1, &[y])];
    let (report, _) = of_lines(&a, &b);
    assert!(report.contains("b.trace: the same for 1 step, then different\n"), "{report}");
    let rows = report.lines().filter(|line| line.starts_with("         0 "));
    assert_eq!(rows.count(), 2, "a row a step: {report}");
    let (report, _) = of_lines(&a, &a[..1]);
    assert_eq!(report.matches("only in the reference").count(), 1, "{report}");
}

#[test]
fn wrappers_of_a_model_do_not_count_in_a_trace() {
    let trace = |wrapper: &str, frozen: &str| {
        let names = ["grad.", "optimizer.square_avg.", ""].map(|prefix| format!("{prefix}{wrapper}w"));
        let names = names.iter().map(String::as_str).chain([frozen]);
        let quantities: Vec<_> = names.map(|name| (name, "float32", "[1]", "AAAAAA==")).collect();
        [line(0, &quantities)]
    };
    let plain = trace("", "frozen");
    for wrapper in ["module.", "model._orig_mod."] {
        let (report, code) = of_lines(&plain, &trace(wrapper, &format!("{wrapper}frozen")));
        assert_eq!(code, 0, "{report}");
    }
    // Two names that become one.
    let (report, code) = of_lines(&plain, &trace("module.", "w"));
    assert!(code == 2 && report.contains("b.trace, line 2: module.w and w both become w"), "{report}");
}
