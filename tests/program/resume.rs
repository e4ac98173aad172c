//! `--resume`: a run that was stopped at an epoch equals one that was not, and whatever does not fit the run is refused.

use std::fs;
use std::path::Path;

use crate::common::processes::run;
use crate::common::{Lab, checkout, fashion_mnist, names, tensors};
use serde_json::{Value, json};

const LAST: &str = "checkpoints/last.safetensors";

/// Both models, with workers and without, checkpoints not after every epoch, the largest seed, parts of an epoch.
const OPTIONS: [&str; 6] = [
    "--model mlp --batch-size 32 --num-workers 0 --seed 9",
    "--model mlr --num-workers 0 --lr 0.3 --limit-train-batches 1",
    "--model mlp --validation 0.61 --lr 1e-4 --limit-train-batches 0.5 --batch-size 16",
    "--model mlp --batch-size 8",
    "--model mlr --batch-size 8",
    "--model mlp --batch-size 64 --checkpoint-every 3 --seed 18446744073709551615",
];

/// Fails unless runs that are stopped after that many epochs and resumed equal the whole run.
fn assert_stopping_changes_nothing(
    lab: &Lab,
    options: &str,
    whole: &str,
    stops: impl IntoIterator<Item = usize>,
) {
    let epochs = &lab.run_json(whole)["options"]["epochs"];
    for stop in stops {
        let run = lab.train(&format!("{options} --epochs {stop}"));
        assert!(lab.read(&run, "metrics.csv") != lab.read(whole, "metrics.csv"));
        assert_eq!(lab.train(&format!("--resume {run} --epochs {epochs}")), run);
        lab.assert_same(&run, whole, &format!("{options}, stopped at {stop}"));
    }
}

#[test]
fn a_run_that_was_stopped_resumes_to_the_same_bytes() {
    let lab = Lab::new();
    for options in &OPTIONS[..3] {
        let whole = lab.train(&format!("{options} --epochs 2"));
        assert_stopping_changes_nothing(&lab, options, &whole, [1]);
    }
}

#[test]
#[ignore = "slow"]
fn a_run_that_was_stopped_at_any_epoch_resumes_to_the_same_bytes() {
    let lab = Lab::new();
    for options in OPTIONS {
        let whole = lab.train(&format!("{options} --epochs 6"));
        assert_stopping_changes_nothing(&lab, options, &whole, 1..6);
    }
}

#[test]
#[ignore = "slow"]
fn a_run_that_was_stopped_after_every_epoch_resumes_to_the_same_bytes() {
    let lab = Lab::new();
    let options = "--epochs 4 --batch-size 16 --model mlp";
    let whole = lab.train(options);
    let run = lab.train(&format!("{options} --max-time 0s"));
    for epochs in 1..4 {
        assert_eq!(lab.run_json(&run)["outcome"]["epochs"], epochs);
        lab.train(&format!("--resume {run} --max-time 0s"));
    }
    lab.assert_same(&run, &whole, "stopped after every epoch");
    // There is nothing left to do, and nothing changes.
    lab.train(&format!("--resume {run}"));
    lab.assert_same(&run, &whole, "resumed after its end");
}

#[test]
fn a_run_with_a_varied_source_that_was_stopped_resumes_to_the_same_bytes() {
    let lab = Lab::new();
    let base = lab.train("--epochs 3 --batch-size 32");
    for vary in ["split=4", "init=4", "shuffle=4", "dropout=4", "dropout=4 --generator cuda"] {
        let options = format!("--epochs 3 --batch-size 32 --vary {vary}");
        let whole = lab.train(&options);
        assert!(lab.read(&whole, "metrics.csv") != lab.read(&base, "metrics.csv"), "{vary}");
        let run = lab.train(&format!("{options} --max-time 0s"));
        lab.train(&format!("--resume {run}"));
        lab.assert_same(&run, &whole, vary);
        let checkpoint = tensors(&lab.path().join(&run).join(LAST));
        assert_eq!(checkpoint.contains_key("generator.varied.state"), !vary.starts_with("split"), "{vary}");
    }
}

#[test]
fn a_run_that_died_resumes_from_its_last_checkpoint_or_from_the_start() {
    let lab = Lab::new();
    let whole = lab.train("--epochs 3 --batch-size 16");
    let died = lab.train("--epochs 2 --batch-size 16");
    // As when it died after it had logged, but not saved, the third epoch.
    lab.write(&format!("{died}/metrics.csv"), lab.read(&whole, "metrics.csv"));
    lab.train(&format!("--resume {died} --epochs 3"));
    lab.assert_same(&died, &whole, "died in the third epoch");
    // As when it died before its first checkpoint.
    fs::remove_dir_all(lab.path().join(&died).join("checkpoints")).unwrap();
    lab.train(&format!("--resume {died} --epochs 3"));
    lab.assert_same(&died, &whole, "died before its first checkpoint");
}

#[test]
fn a_run_that_was_extended_and_died_before_its_next_checkpoint_stays_extended() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16");
    // As an extended run writes it when it begins.
    let mut record = lab.run_json(&run);
    let mut resume_with = |options: &[(&str, Value)]| {
        for (name, value) in options {
            record["options"][name] = value.clone();
        }
        lab.write(&format!("{run}/run.json"), record.to_string());
        lab.train(&format!("--resume {run}"));
        lab.run_json(&run)
    };
    let more = [("epochs", json!(4)), ("checkpoint_every", json!(3)), ("checkpoint_every_n_steps", json!(5))];
    let record = resume_with(&more);
    assert_eq!(record["outcome"]["epochs"], 4);
    for (name, value) in more {
        assert_eq!(record["options"][name], value, "{name}");
    }
    // Options that decide the numbers are the checkpoint's.
    let record = resume_with(&[("epochs", json!(6)), ("lr", json!(0.5))]);
    assert_eq!((&record["outcome"]["epochs"], &record["options"]["lr"]), (&json!(4), &json!(0.01)));
}

#[test]
fn metrics_of_an_unfinished_epoch_are_dropped_and_missing_ones_are_not_invented() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16");
    let csv = format!("{run}/metrics.csv");
    let before = lab.text(&csv);
    lab.write(&csv, format!("{before}2,49,0.5,,,\r\n"));
    lab.train(&format!("--resume {run}"));
    assert_eq!(lab.text(&csv), before);
    let lines: Vec<&str> = before.lines().collect();
    for kept in [[&lines[..1], &lines[2..]].concat(), lines[..1].to_vec()] {
        lab.write(&csv, kept.join("\r\n"));
        lab.assert_refused(&format!("train --resume {run} --epochs 3"), 1, &[&csv]);
    }
}

/// The README of tests/data/run_0.1 says how it was made.
#[test]
fn a_run_of_version_0_1_resumes() {
    let lab = Lab::new();
    let source = checkout().join("tests/data/run_0.1");
    run("cp", &["-a", source.to_str().unwrap(), lab.path().join("old").to_str().unwrap()]);
    let old = "old/version_0";
    let before = lab.text(&format!("{old}/metrics.csv"));
    let data = format!("--data-dir {}", fashion_mnist().display());
    let new = lab.train(&format!("--model mlr --batch-size 8 --epochs 1 --threads 1 {data}"));
    for run in [old, &new] {
        lab.train(&format!("--epochs 2 --resume {run} {data}"));
        assert_eq!(lab.run_json(run)["outcome"]["end"], "max_epochs");
        assert!(lab.exists(&format!("{run}/model.safetensors")));
    }
    assert!(lab.text(&format!("{old}/metrics.csv")).starts_with(&before), "what was there stays");
    // The values depend on the processor.
    let filled = |run: &str| -> Vec<Vec<String>> {
        let filled = |cell: &str| if cell.contains('.') { "x" } else { cell }.to_string();
        let csv = lab.text(&format!("{run}/metrics.csv"));
        csv.lines().map(|row| row.split(',').map(filled).collect()).collect()
    };
    assert_eq!(filled(old), filled(&new));
    // The new version has written it anew.
    let last = fs::read_link(lab.path().join(old).join(LAST)).unwrap();
    assert_eq!(last, Path::new("epoch=1-step=20.safetensors"));
}

#[test]
fn an_option_or_data_that_differ_from_the_runs_are_refused_by_name() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16 --vary init=3");
    let before = lab.read(&run, "metrics.csv");
    let refused = |code: i32, options: &str, names: &[&str]| {
        lab.assert_refused(&format!("train --resume {run} {options}"), code, names);
    };
    for (option, used) in [
        ("--model mlr", "mlp"),
        ("--batch-size 32", "16"),
        ("--validation 0.25", "0.2"),
        ("--seed 1", "0"),
        ("--num-workers 0", "4"),
        ("--lr 0.02", "0.01"),
        ("--threads 2", "1"),
        ("--device cuda:1", "cpu"),
        ("--limit-train-batches 3", "none"),
        ("--vary init=4", "init=3"),
    ] {
        refused(2, option, &[option, &run, &format!("used {used}")]);
    }
    refused(2, "--epochs 1", &["--epochs 1 is less than the 2", &run]);
    let labels = "data/MNIST/raw/train-labels-idx1-ubyte";
    let mut bytes = lab.read("", labels);
    bytes[8] ^= 1;
    lab.write(labels, bytes);
    refused(1, "--epochs 3", &[labels]);
    assert!(lab.read(&run, "metrics.csv") == before);
}

#[test]
fn a_folder_without_a_run_of_train_is_refused_by_name_and_stays_as_it_is() {
    let lab = Lab::new();
    lab.write("mine/.tmp-important", "mine");
    for option in ["--resume nowhere", "--resume mine", "--from nowhere.json"] {
        lab.assert_refused(&format!("train {option}"), 1, &[option.split(' ').nth(1).unwrap()]);
    }
    assert_eq!(names(lab.path().join("mine")), [".tmp-important"]);
    assert!(!lab.exists("output"));
    lab.stdout("reproduce --epochs 1 --device cpu");
    for option in ["--resume", "--from"] {
        lab.assert_refused(&format!("train {option} output/MNIST/version_0"), 1, &["`reproduce`"]);
    }
}
