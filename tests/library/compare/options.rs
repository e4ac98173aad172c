//! The run.json of two runs, which explains a difference and decides nothing.

use std::fs;

use insta::assert_snapshot;
use safetensors::Dtype;
use serde_json::Value;

use super::{METRICS, Pair, compare_paths, safetensors};
use crate::common::{Lab, command, stdout_of};

/// The report on two runs that differ only in run.json, without the lines on their other files.
fn reasons(reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> String {
    let report = Pair::new()
        .both("MNIST/version_0/metrics.csv", METRICS)
        .both("MNIST/version_0/model.safetensors", safetensors(&[("w", Dtype::U8, &[1], vec![1])]))
        .sides("MNIST/version_0/run.json", reference, candidate)
        .report();
    report.split_once("    w [1]: identical\n").unwrap().1.to_owned()
}

#[test]
fn options_that_differ_are_reported() {
    let run = |seed: u64, capability: &str, commit: &str| {
        format!(
            r#"{{"options":{{"model":"mlp","seed":{seed},"num_workers":4,"name":null}},"data":{{"train-labels":"0f"}},
            "environment":{{"cpu_capability":"{capability}","git_commit":"{commit}"}},"start":"{commit}"}}"#
        )
    };
    assert_snapshot!(reasons(run(0, "AVX512", "a"), run(1, "AVX2", "b")), @"
    MNIST/version_0/run.json: --seed: reference 0, candidate 1
    MNIST/version_0/run.json: environment cpu_capability: reference AVX512, candidate AVX2
    identical: 2 files, 1 tensor, 0 differences
    ");
    assert_snapshot!(reasons(run(0, "AVX512", "a"), "{"), @"identical: 2 files, 1 tensor, 0 differences");
}

#[test]
fn the_versions_of_either_side_are_no_difference_but_the_processor_is() {
    let run = |environment: &str| format!(r#"{{"options":{{"seed":0}},"environment":{{{environment}}}}}"#);
    let python = r#""processor":"A","tch":null,"python":"3.11.7","pytorch_lightning":"2.6.6","islp":"0.6.0""#;
    let reasons = |candidate: &str| reasons(run(python), run(candidate));
    assert_snapshot!(reasons(r#""processor":"A","tch":"0.26.0""#), @"identical: 2 files, 1 tensor, 0 differences");
    assert_snapshot!(reasons(r#""processor":"B","tch":"0.26.0""#), @"
    MNIST/version_0/run.json: environment processor: reference A, candidate B
    identical: 2 files, 1 tensor, 0 differences
    ");
}

#[test]
fn libraries_that_differ_are_reported_if_both_sides_know_them() {
    let run = |libraries: &str| format!(r#"{{"environment":{{"processor":"A"{libraries}}}}}"#);
    let python = run(r#","libraries":{"mkl":"2024.2","onednn":"3.12.0"}"#);
    assert_snapshot!(reasons(&python, run("")), @"identical: 2 files, 1 tensor, 0 differences");
    assert_snapshot!(reasons(&python, run(r#","libraries":{"mkl":"2023.1","onednn":"3.12.0"}"#)), @"
    MNIST/version_0/run.json: libraries mkl: reference 2024.2, candidate 2023.1
    identical: 2 files, 1 tensor, 0 differences
    ");
}

#[test]
fn what_the_two_were_computed_with_is_compared_the_likeliest_cause_first() {
    let lab = Lab::new();
    let train = |trace: &str, options: &str, variables: &[(&str, &str)]| {
        let options = format!("train --model mlr --epochs 1 --trace {trace} {options}");
        let mut train = command(lab.path(), &options);
        lab.path().join(stdout_of(train.envs(variables.iter().copied())).trim_end())
    };
    let usual = train("a.trace", "", &[]);
    let other = train("b.trace", "--lr 0.02", &[("MKL_CBWR", "COMPATIBLE"), ("OMP_DYNAMIC", "true")]);
    let expected = "what could be why, most likely first:\n    run.json: --lr: reference 0.01, candidate 0.02\n    \
                    run.json: MKL_CBWR: reference not given, candidate COMPATIBLE\n    \
                    run.json: OMP_DYNAMIC: reference not given, candidate true\ndifferent: ";
    let (text, _) = compare_paths(&usual, &other, "");
    assert!(text.contains(expected), "{text}");
    // Traces say the same of themselves.
    let [a, b] = ["a.trace", "b.trace"].map(|file| lab.path().join(file));
    let (text, _) = compare_paths(&a, &b, "");
    assert!(text.contains("b.trace: MKL_CBWR: reference not given, candidate COMPATIBLE\n"), "{text}");
    // In folders only once.
    for (run, trace) in [(&usual, &a), (&other, &b)] {
        fs::rename(trace, run.join("run.trace")).unwrap();
    }
    let (text, _) = compare_paths(&usual, &other, "");
    assert!(text.contains("run.trace: the same for ") && text.matches("MKL_CBWR: ").count() == 1, "{text}");
    // Older files lack some of it.
    let mut json = lab.run_json(other.to_str().unwrap());
    json["environment"].as_object_mut().unwrap().remove("variables");
    fs::write(other.join("run.json"), json.to_string()).unwrap();
    fs::remove_file(other.join("run.trace")).unwrap();
    let (text, _) = compare_paths(&usual, &other, "");
    assert!(text.contains("run.json: --lr: ") && !text.contains("MKL_CBWR"), "{text}");
}

#[test]
#[ignore = "slow"]
fn train_and_reproduce_of_one_seed_differ_for_a_reason_that_is_reported() {
    let lab = Lab::new();
    lab.program("reproduce --epochs 1 --device cpu --threads 1").assert().success();
    let reproduced = lab.path().join("output/MNIST/version_0");
    let train =
        |options: &str| lab.path().join(lab.train(&format!("--epochs 1 --device cpu --threads 1 {options}")));
    let trained = train("");
    for (reference, candidate, sides) in [
        (&reproduced, &trained, "command: reference reproduce, candidate train; "),
        (&trained, &reproduced, "command: reference train, candidate reproduce; "),
    ] {
        let (text, code) = compare_paths(reference, candidate, "");
        assert_eq!(code, 1);
        let reasons: Vec<_> =
            text.lines().filter(|line| line.trim_start().starts_with("run.json: ")).collect();
        assert_eq!(reasons.len(), 1, "{text}");
        assert!(reasons[0].contains(sides) && reasons[0].contains("two batches"), "{text}");
        assert!(!text.contains("--model") && !text.contains("--checkpoint-every"), "{text}");
        let cells = "test_accuracy, test_loss";
        assert!(text.contains(cells), "cells were compared, beside the columns of one: {text}");
    }
    let json: Value = serde_json::from_str(&compare_paths(&trained, &reproduced, "--json").0).unwrap();
    let option = &json["options"][0];
    assert_eq!((&option["section"], &option["reference"]), (&"command".into(), &"train".into()));
    // Other differences follow.
    let (text, _) = compare_paths(&reproduced, &train("--seed 1"), "");
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part}: {text}"));
    assert!(at("run.json: command: ") < at("run.json: --seed: "), "{text}");
    assert!(lab.stdout("train --help").contains("differ from the first weight on"));
}
