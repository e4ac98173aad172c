//! Traces compared with a tolerance, and the sketches that it takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{bytes, compare_with, line, of_lines_with, trace};
use crate::common::Lab;
use crate::common::python::python_output;

#[test]
fn with_a_tolerance_rounding_is_counted_and_the_first_quantity_beyond_it_is_named() {
    let lab = Lab::new();
    trace(&lab, "a.trace", "--epochs 2");
    trace(&lab, "b.trace", "--epochs 2 --lr 0.01000001");
    let compare = |options: &str| compare_with(lab.path(), "a.trace", "b.trace", options);
    let (report, code) = compare("--rtol 1e-4");
    let lines: Vec<&str> = report.lines().map(str::trim_start).collect();
    let [verdict, first, _, _, distance, ..] = lines[..] else { panic!("{report}") };
    assert!(verdict.starts_with("a.trace and b.trace: close for ") && code == 1, "{report}");
    assert!(
        first.starts_with("first difference beyond the tolerance in fit 0 (MNISTModel), epoch "),
        "{report}"
    );
    assert!(distance.starts_with("relative distance about "), "{report}");
    let counted = "tensors differ within the tolerance, by a relative distance of about ";
    assert!(lines.iter().any(|line| line.contains(counted)), "{report}");
    // The table begins where they part, at the first step, and has the step that is named.
    let step = first.split("step ").nth(1).unwrap().split(':').next().unwrap();
    let rows: Vec<&str> = lines
        .iter()
        .skip_while(|line| !line.starts_with("epoch "))
        .filter_map(|row| row.split_whitespace().nth(1))
        .collect();
    assert!(rows[1] == "0" && rows.contains(&step), "{step}: {report}");

    let (report, code) = compare("--rtol 1e9");
    assert!(report.starts_with("a.trace and b.trace: close (14 steps)\n") && code == 0, "{report}");
    assert!(
        report.ends_with(
            "\nclose, not identical: 1 file, 0 tensors, 14 steps traced (atol 0.0, rtol 1000000000.0)\n"
        ),
        "{report}"
    );
    let (report, code) = compare_with(lab.path(), "a.trace", "a.trace", "--rtol 1");
    assert!(report.starts_with("a.trace: identical (14 steps)\n") && code == 0, "{report}");
}

#[test]
fn a_tolerance_covers_another_kind_of_float_or_shape_but_no_integer() {
    // 1.0 and the next f32, in f64 too.
    let one = ("x", "float32", "[1]", "AACAPw==");
    for (reference, candidate, options, code) in [
        (one, ("x", "float32", "[1]", "AQCAPw=="), "--rtol 1e-6", 0),
        (one, ("x", "float32", "[1]", "AQCAPw=="), "--atol 1e-6", 0),
        (one, ("x", "float32", "[1]", "AQCAPw=="), "--rtol 1e-8", 1),
        (one, ("x", "float64", "[1,1]", "AAAAAAAA8D8="), "--rtol 0", 0),
        (one, ("x", "float64", "[1]", "AAAAAAAA8D8="), "", 1),
        (one, ("x", "float32", "[2]", "AACAPwAAgD8="), "--rtol 9", 1),
        (("x", "uint8", "[1]", "AQ=="), ("x", "int16", "[1]", "AQA="), "--rtol 0", 0),
        (("x", "uint8", "[1]", "AQ=="), ("x", "uint8", "[1]", "Ag=="), "--rtol 9 --atol 9", 1),
    ] {
        let (report, ended) = of_lines_with(&[line(0, &[reference])], &[line(0, &[candidate])], options);
        assert_eq!(ended, code, "{reference:?}, {candidate:?}, {options}: {report}");
    }
    // Only the common quantities decide, but one must be common.
    let ([x, _], [y, _]) = (bytes("x"), bytes("y"));
    assert_eq!(of_lines_with(&[line(0, &[x, y])], &[line(0, &[x])], "--rtol 0").1, 0);
    let (report, code) = of_lines_with(&[line(0, &[x])], &[line(0, &[y])], "--rtol 0");
    assert!(
        report.contains("could not compare: there is no quantity that both have") && code == 2,
        "{report}"
    );
}

#[test]
fn a_matrix_that_is_transposed_on_one_side_is_told_with_a_hint() {
    let lab = Lab::new();
    for (name, shape) in [("a", "[2,1]"), ("b", "[1,2]")] {
        let quantities = [("grad.w", "uint8", shape, "AQE=")];
        lab.write(&format!("{name}.trace"), format!("{{\"trace\":1}}\n{}\n", line(0, &quantities)));
    }
    let output = lab.program("compare a.trace b.trace").output().unwrap();
    let hint = "note: --transpose w compares the candidate's columns with the reference's rows\n";
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(1), hint));
}

#[test]
fn the_candidates_names_can_be_translated() {
    let named = |names: [&str; 4]| {
        let quantities = names.map(|name| (name, "float32", "[1]", "AAAAAA=="));
        [line(0, &quantities)]
    };
    let reference = named(["grad.0.weight", "optimizer.square_avg.0.weight", "0.weight", "loss"]);
    let candidate =
        named(["grad.dense.kernel", "optimizer.square_avg.dense.kernel", "dense.kernel", "objective"]);
    for (options, code) in [
        ("", 1),
        ("--rename dense.kernel=0.weight", 1),
        ("--rename dense.kernel=0.weight --rename objective=loss", 0),
        ("--rename dense.k*l=0.w*t --rename objective=loss", 1),
        ("--rename *dense.kernel=*0.weight --rename objective=loss", 0),
    ] {
        assert_eq!(of_lines_with(&reference, &candidate, options).1, code, "{options}");
    }
    let (report, code) = of_lines_with(&reference, &candidate, "--rename objective=dense.kernel");
    let reason = "dense.kernel and objective of the candidate both become dense.kernel";
    assert!(report.contains(reason) && code == 2, "{report}");
}

#[test]
fn a_matrix_that_the_candidate_has_transposed_is_compared_if_it_was_kept() {
    // 1 and 2 beside each other, and one above the other.
    let names = ["grad.w", "optimizer.square_avg.w", "w"];
    let trace = |shape: &str, data: &str| [line(0, &names.map(|name| (name, "float32", shape, data)))];
    let reference = trace("[1,2]", "AACAPwAAAEA=");
    let candidate = trace("[2,1]", "AACAPwAAAEA=");
    for (options, code) in [
        ("", 1),
        // The hash in the reference's line is not its data's, but the data are equal.
        ("--transpose w", 1),
        ("--transpose w --rtol 0", 0),
        ("--transpose x", 1),
    ] {
        let (report, ended) = of_lines_with(&reference, &candidate, options);
        assert_eq!(ended, code, "{options}: {report}");
    }
    let without = |lines: &[String]| {
        let mut steps: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for quantity in steps.iter_mut().flat_map(|step| step["quantities"].as_array_mut().unwrap()) {
            quantity.as_object_mut().unwrap().remove("data");
        }
        steps.iter().map(Value::to_string).collect::<Vec<_>>()
    };
    let (report, code) = of_lines_with(&reference, &without(&candidate), "--transpose w --rtol 1");
    assert_eq!(code, 2, "{report}");
    let reason =
        "not compared, because they are transposed and were not kept: grad.w, optimizer.square_avg.w, w\n";
    assert!(report.contains(reason), "{report}");
}

#[test]
#[ignore = "needs the Python reference"]
fn a_trace_that_numpy_wrote_is_compared_with_one_in_another_precision() {
    let lab = Lab::new();
    for kind in ["float32", "float64"] {
        let options = format!("{kind} {kind}.trace");
        python_output(lab.path(), "examples/trace_numpy.py", &options);
    }
    let (report, code) = compare_with(lab.path(), "float64.trace", "float32.trace", "--rtol 1e-5");
    assert!(report.contains("close (8 steps)\n") && code == 0, "{report}");
    let (report, code) = compare_with(lab.path(), "float64.trace", "float32.trace", "--rtol 1e-9");
    assert!(report.contains(", epoch 0, step 0: input\n") && code == 1, "{report}");
}

#[test]
#[ignore = "needs the Python reference"]
fn a_sketch_in_python_is_that_in_rust_up_to_the_order_of_summation() {
    let lab = Lab::new();
    trace(&lab, "rust.trace", "--epochs 1");
    python_output(
        lab.path(),
        "scripts/train.py",
        "--seed 3 --batch-size 48 --num-workers 0 --epochs 1 --trace python.trace",
    );
    let sketches = |file: &str| -> Vec<Vec<f64>> {
        let steps = lab.text(file);
        let steps = steps.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let quantities = steps.flat_map(|step| step["quantities"].as_array().unwrap().clone());
        let sketches =
            quantities.map(|quantity| STANDARD.decode(quantity["sketch"].as_str().unwrap()).unwrap());
        sketches
            .map(|bytes| bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
            .collect()
    };
    let [ours, theirs] = ["rust.trace", "python.trace"].map(sketches);
    assert!(ours.len() == theirs.len() && ours.len() > 100);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.len(), 16);
        let norm = ours.iter().map(|value| value.powi(2)).sum::<f64>().sqrt();
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-12 * norm), "{ours:?}, {theirs:?}");
    }
}
