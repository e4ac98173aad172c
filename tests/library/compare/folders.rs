//! Two folders: which files are compared, and the program around them.

use insta::assert_snapshot;
use islp_mnist::compare::{Options, compare};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::weights::runs;
use super::{METRICS, Pair, f32s, model, safetensors};
use crate::common::{assert_refused, checkout, islp_mnist, program, words};

#[test]
fn equal_output_folders_are_identical_whatever_their_pictures_and_checkpoints() {
    let pair = Pair::new()
        .both("MNIST/version_0/metrics.csv", METRICS)
        .both("MNIST/version_0/model.safetensors", model(&[0.5, 0.25]))
        .both("MNIST/version_1/metrics.csv", "epoch,step\r\n")
        .both("MNIST/version_1/model.safetensors", model(&[2.0]))
        .both("MNIST_MLR/version_0/model.safetensors", model(&[f32::NAN]))
        .both("stdout.txt", "2\n5\n")
        .with("reference/MNIST/version_0/checkpoints/epoch=1-step=376.ckpt", "a pickle")
        .with("candidate/MNIST/version_0/checkpoints/last.safetensors", model(&[0.5, 0.25]))
        .with("candidate/MNIST/version_0/accuracy.svg", "<svg/>");
    assert_snapshot!(pair.report(), @"
    MNIST/version_0/metrics.csv: identical (3 rows)
    MNIST/version_0/model.safetensors: identical (2 tensors)
        0.bias [2]: identical
        0.weight [2, 3]: identical
    MNIST/version_1/metrics.csv: identical (0 rows)
    MNIST/version_1/model.safetensors: identical (2 tensors)
        0.bias [1]: identical
        0.weight [2, 3]: identical
    MNIST_MLR/version_0/model.safetensors: identical (2 tensors)
        0.bias [1]: identical
        0.weight [2, 3]: identical
    stdout.txt: identical (2 lines)
    identical: 6 files, 6 tensors, 0 differences
    ");
    let checkpoints = "candidate/MNIST/version_0/checkpoints";
    let (text, _) = pair.compare_paths(checkpoints, checkpoints, "");
    assert!(text.ends_with("identical: 1 file, 2 tensors, 0 differences\n"), "{text}");
}

#[test]
fn version_folders_and_single_files_are_compared_under_any_names() {
    let pair = Pair::new()
        .with("reference/version_0/metrics.csv", METRICS)
        .with("candidate/version_3/metrics.csv", METRICS)
        .with("b.csv", METRICS.replace("0.39", "0.4"));
    assert_snapshot!(pair.compare_paths("reference/version_0", "candidate/version_3", "").0, @"
    metrics.csv: identical (3 rows)
    could not compare: no weights were compared; identical: 1 of 1 file, 0 tensors
    ");
    assert_snapshot!(pair.compare_paths("reference/version_0/metrics.csv", "b.csv", "").0, @"
    DIR/reference/version_0/metrics.csv and DIR/b.csv: 1 of 4 cells differs
        first in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
        largest in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
    different: 1 of 1 file, 0 of 0 tensors
    ");
}

#[test]
fn a_file_that_is_broken_or_on_one_side_only_hides_no_difference_in_another() {
    let pair = Pair::of("stdout.txt", "a\n", "b\n")
        .with("reference/MNIST/version_0/metrics.csv", METRICS)
        .with("candidate/MNIST/version_1/metrics.csv", METRICS)
        .both("m.safetensors", model(&[1.0]))
        .sides("metrics.csv", "", "\r\n");
    assert_snapshot!(pair.report(), @r#"
    MNIST/version_0/metrics.csv: could not compare: only in the reference
    MNIST/version_1/metrics.csv: could not compare: only in the candidate
    m.safetensors: identical (2 tensors)
        0.bias [1]: identical
        0.weight [2, 3]: identical
    metrics.csv: could not compare: DIR/reference/metrics.csv: the file is empty, without even a header; DIR/candidate/metrics.csv: the file is empty, without even a header
    stdout.txt: first difference in line 1, byte 1
        reference: "a\n"
        candidate: "b\n"
    could not compare: 3 of 5 files; different: 1 of 5 files, 0 of 2 tensors
    "#);
}

#[test]
fn paths_that_cannot_be_compared_at_all_are_an_error_that_names_them() {
    let pair = Pair::new()
        .with("a.csv", METRICS)
        .with("a.safetensors", model(&[1.0]))
        .with("a.png", "")
        .with("candidate/accuracy.png", "")
        .with("deep/1/2/3/4/5/6/7/8/9/stdout.txt", "");
    let pairs = [
        ("reference", "nowhere"),
        ("reference", "a.csv"),
        ("a.csv", "reference"),
        ("a.csv", "a.safetensors"),
        ("a.png", "a.png"),
        ("reference", "candidate"),
        ("reference", "deep"),
    ];
    let errors = pairs.map(|(reference, candidate)| {
        let error = compare(&pair.path(reference), &pair.path(candidate), &Options::default()).unwrap_err();
        let error = error.to_string().replace(pair.0.path().to_str().unwrap(), "DIR");
        // The rest is the system's.
        error.split(": No such file").next().unwrap().to_string()
    });
    assert_snapshot!(errors.join("\n"), @"
    cannot read DIR/nowhere
    DIR/reference and DIR/a.csv are of different types
    DIR/a.csv and DIR/reference are of different types
    DIR/a.csv and DIR/a.safetensors are of different types
    DIR/a.png: expected a .csv, a .safetensors, a .trace or a .txt file
    no metrics.csv, *.safetensors, *.trace or stdout.txt in DIR/reference and DIR/candidate
    DIR/deep/1/2/3/4/5/6/7/8/9 is more than 8 folders deep
    ");
}

/// Lightning's log folder, and weights from here.
fn lightnings() -> Pair {
    Pair::new()
        .both("metrics.csv", METRICS)
        .with("reference/checkpoints/epoch=1-step=376.ckpt", "PK")
        .with("reference/hparams.yaml", "{}")
        .with("candidate/model.safetensors", model(&[1.0]))
}

#[test]
fn a_log_folder_of_lightning_is_compared_as_far_as_possible() {
    assert_snapshot!(lightnings().report(), @"
    metrics.csv: identical (3 rows)
    model.safetensors: could not compare: only in the candidate; the other's weights are in checkpoints/epoch=1-step=376.ckpt, a pickle
    could not compare: 1 of 2 files; identical: 1 of 2 files, 0 tensors
    ");
}

#[test]
fn the_program_prints_the_report_ends_as_the_verdict_says_and_hints_at_what_helps() {
    let (allow, convert) = ("--allow-no-weights", "scripts/parity_checkpoint.py RUN.ckpt");
    let texts = || Pair::of("stdout.txt", "a 1\n", "a 2\n").both("m.safetensors", model(&[1.0]));
    let [name, alias] = ["layer1.1.bias", "_forward.0.1.bias"]
        .map(|name| safetensors(&[(name, Dtype::F32, &[1], f32s(&[1.0]))]));
    for (pair, options, code, hints) in [
        (Pair::of("m.safetensors", name, alias), "", 0, &[][..]),
        (texts(), "", 1, &[]),
        (texts(), "--json", 1, &[]),
        (texts(), "--atol 1", 0, &[]),
        (texts(), "--atol 0.25 --rtol 0.5", 1, &[]),
        (Pair::new().both("stdout.txt", "").both("metrics.csv", ""), "", 2, &[]),
        (runs(), "", 2, &[allow]),
        (runs(), allow, 0, &[]),
        (runs().both("run/checkpoints/epoch=1-step=376.ckpt", "PK"), "", 2, &[allow, convert]),
        (lightnings(), "", 2, &[convert]),
    ] {
        let mut command = islp_mnist();
        command.arg("compare").args(words(options)).args(["reference", "candidate"]).current_dir(&pair.0);
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let (report, expected) = pair.compare(options);
        assert_eq!(stdout.trim_end(), report.replace("DIR/", "").trim_end());
        assert_eq!((output.status.code(), expected), (Some(code), code), "{report}");
        assert_eq!(stderr.lines().count(), hints.len(), "{report}{stderr}");
        assert!(hints.iter().all(|hint| stderr.contains(hint)), "{report}{stderr}");
    }
    assert_refused(&mut program(checkout(), "compare nowhere nowhere"), 2, &["nowhere"]);
}

#[test]
fn json_has_all_that_the_text_has() {
    let pair = Pair::of("metrics.csv", METRICS, METRICS.replace("0.26", "0.27"))
        .both("stdout.txt", "a\n")
        .sides("m.safetensors", model(&[0.5, 0.25]), model(&[0.5, f32::NAN]));
    let (text, _) = pair.compare("--json");
    assert!(text.starts_with("{\n  \"verdict\": \"different\",\n  \"tolerance\": null,\n"), "{text}");
    let value = json!({"index": [1], "reference": 0.25, "candidate": null});
    let cell = json!({
        "row": 2,
        "epoch": "0",
        "step": "187",
        "column": "valid_loss",
        "reference": "0.26",
        "candidate": "0.27",
        "apart": 0.010000000000000009
    });
    let tensors = json!({
        "name": "m.safetensors",
        "verdict": "different",
        "kind": "tensors",
        "is_other_header": true,
        "tensors": [
            {
                "name": "0.bias",
                "shape": [2],
                "difference": {
                    "values": {
                        "values": 2,
                        "differing": 1,
                        "beyond_tolerance": 1,
                        "max_ulps": null,
                        "first": value,
                        "largest": value,
                        "max_abs_difference": null,
                        "mean_abs_difference": null
                    }
                }
            },
            {"name": "0.weight", "shape": [2, 3], "difference": null}
        ]
    });
    let metrics = json!({
        "name": "metrics.csv",
        "verdict": "different",
        "kind": "metrics",
        "rows": 3,
        "difference": {
            "cells": 4,
            "differing": 1,
            "beyond_tolerance": 1,
            "first": cell,
            "largest": cell,
            "rows": [3, 3],
            "only_columns": [[], []],
            "only_rows": [null, null],
            "written_otherwise": [],
            "max_abs_difference": 0.010000000000000009
        },
        "first_line": null
    });
    let stdout = json!({
        "name": "stdout.txt",
        "verdict": "identical",
        "kind": "text",
        "lines": 1,
        "close": null,
        "first_line": null
    });
    let expected = json!({
        "verdict": "different",
        "tolerance": null,
        "options": [],
        "steps_to_keep": null,
        "without_weights": [],
        "files": [tensors, metrics, stdout]
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
}
