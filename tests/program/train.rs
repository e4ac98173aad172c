//! `train`: against Lightning, and that a run that was stopped comes to what it would have come to.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Lab, assert_refused, data_dir, islp_mnist, program, python, stdout_of};
use predicates::str::contains;
use serde_json::{Value, json};
use tempfile::tempdir;

#[test]
#[ignore = "needs the Python reference"]
fn metrics_and_weights_are_lightnings() {
    for options in [
        "--model mlp --epochs 2 --seed 7",
        "--model mlr --epochs 2 --num-workers 0 --limit-train-batches 60",
        "--model mlp --epochs 3 --num-workers 2 --limit-train-batches 0.3 --batch-size 200",
    ] {
        let folder = tempdir().unwrap();
        let run = |command: &mut Command, side: &str| {
            let command = command.args(options.split_whitespace()).arg("--data-dir").arg(data_dir());
            stdout_of(command.arg("--output-dir").arg(folder.path().join(side)));
        };
        run(&mut python("scripts/train.py"), "reference");
        run(islp_mnist().args(["train", "--device", "cpu"]), "candidate");
        let compare = program(&folder, "compare reference candidate").assert();
        compare.success().stdout(contains("\nidentical: 2 files"));
    }
}

/// Both models, with workers and without, checkpoints not after every epoch, the largest seed, parts of an epoch.
const OPTIONS: [&str; 6] = [
    "--model mlp --batch-size 8",
    "--model mlr --batch-size 8",
    "--model mlp --batch-size 32 --num-workers 0 --seed 9",
    "--model mlr --num-workers 0 --lr 0.3 --limit-train-batches 1",
    "--model mlp --validation 0.61 --lr 1e-4 --limit-train-batches 0.5 --batch-size 16",
    "--model mlp --batch-size 64 --checkpoint-every 3 --seed 18446744073709551615",
];

/// Fails unless runs that are stopped after so many epochs, and go on, come to the bytes of one that is not stopped.
fn assert_stopping_changes_nothing(
    lab: &Lab,
    options: &str,
    epochs: usize,
    stops: impl IntoIterator<Item = usize>,
) {
    let whole = lab.train(&format!("{options} --epochs {epochs}"));
    for stop in stops {
        let run = lab.train(&format!("{options} --epochs {stop}"));
        assert!(lab.read(&run, "metrics.csv") != lab.read(&whole, "metrics.csv"));
        assert_eq!(lab.train(&format!("--resume {run} --epochs {epochs}")), run);
        lab.assert_same(&run, &whole, &format!("{options}, stopped at {stop}"));
    }
}

#[test]
fn a_run_that_was_stopped_comes_to_the_same_bytes() {
    let lab = Lab::new();
    for options in [OPTIONS[2], OPTIONS[3], OPTIONS[4]] {
        assert_stopping_changes_nothing(&lab, options, 2, [1]);
    }
}

#[test]
#[ignore = "slow"]
fn a_run_that_was_stopped_at_any_epoch_comes_to_the_same_bytes() {
    let lab = Lab::new();
    for options in OPTIONS {
        assert_stopping_changes_nothing(&lab, options, 6, 1..6);
    }
}

#[test]
#[ignore = "slow"]
fn a_run_that_was_stopped_after_every_epoch_comes_to_the_same_bytes() {
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
fn a_run_that_died_goes_on_from_its_last_checkpoint_or_from_the_start() {
    let lab = Lab::new();
    let whole = lab.train("--epochs 3 --batch-size 16");
    let died = lab.train("--epochs 2 --batch-size 16");
    // As when it died after it had logged, but not saved, the third epoch.
    fs::write(lab.path().join(&died).join("metrics.csv"), lab.read(&whole, "metrics.csv")).unwrap();
    lab.train(&format!("--resume {died} --epochs 3"));
    lab.assert_same(&died, &whole, "died in the third epoch");
    // As when it died before its first checkpoint.
    fs::remove_dir_all(lab.path().join(&died).join("checkpoints")).unwrap();
    lab.train(&format!("--resume {died} --epochs 3"));
    lab.assert_same(&died, &whole, "died before its first checkpoint");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The validation loss of every epoch.
fn valid_losses(lab: &Lab, run: &str) -> Vec<f64> {
    let csv = String::from_utf8(lab.read(run, "metrics.csv")).unwrap();
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "valid_loss").unwrap();
    csv.lines().skip(1).filter_map(|row| row.split(',').nth(column)?.parse().ok()).collect()
}

#[test]
fn the_latest_and_the_best_checkpoint_are_kept() {
    let lab = Lab::new();
    for every in [1, 2, 4] {
        // At this rate the validation loss goes up and down.
        let options = "--model mlr --batch-size 16 --lr 0.05 --epochs 7";
        let run = lab.train(&format!("{options} --checkpoint-every {every}"));
        let losses = valid_losses(&lab, &run);
        // Whatever the epochs between checkpoints, the best of all epochs is kept.
        let best = (0..7).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
        // 320 images make 20 steps an epoch.
        let name = |epoch: usize| format!("epoch={epoch}-step={}.safetensors", 20 * (epoch + 1));
        let mut expected =
            vec!["best.safetensors".to_string(), name(best), name(6), "last.safetensors".into()];
        expected.sort();
        expected.dedup();
        let checkpoints = lab.path().join(run).join("checkpoints");
        assert_eq!(names(&checkpoints), expected, "every {every}: {losses:?}");
        assert_eq!(fs::read_link(checkpoints.join("last.safetensors")).unwrap(), Path::new(&name(6)));
        assert_eq!(fs::read_link(checkpoints.join("best.safetensors")).unwrap(), Path::new(&name(best)));
    }
}

#[test]
fn a_checkpoint_tests_as_the_weights_do() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16");
    let test = |checkpoint: &str| {
        let assert = lab.program(&format!("test --json --checkpoint {checkpoint}")).assert().success();
        assert.get_output().stdout.clone()
    };
    let expected = test(&format!("{run}/model.safetensors"));
    assert_eq!(test(&format!("{run}/checkpoints/last.safetensors")), expected);
    assert_eq!(test(&run), expected);
    fs::remove_file(lab.path().join(&run).join("model.safetensors")).unwrap();
    assert_eq!(test(&run), expected);
}

#[test]
fn the_run_json_says_what_was_run_and_is_enough_to_run_it_again() {
    let lab = Lab::new();
    let run = lab.train(
        "--model mlr --epochs 3 --batch-size 50 --lr 0.002 --validation 0.3 --seed 18446744073709551615 \
         --num-workers 0 --limit-train-batches 0.9 --name mine",
    );
    assert_eq!(run, "output/mine/version_0");
    let record = lab.run_json(&run);
    assert_eq!(
        record["options"],
        json!({
            "model": "mlr", "epochs": 3, "batch_size": 50, "validation": 0.3, "seed": 18446744073709551615u64,
            "num_workers": 0, "lr": 0.002, "threads": 1, "device": "cpu", "generator": "cpu",
            "limit_train_batches": 0.9, "vary": null, "checkpoint_every": 1, "name": "mine",
        })
    );
    assert_eq!(record["data"].as_object().unwrap().len(), 4);
    assert_eq!(record["environment"]["islp_mnist"], env!("CARGO_PKG_VERSION"));
    assert!(record["environment"]["libtorch"].as_str().unwrap().starts_with("2.13.0"), "{record}");
    assert_eq!(record["outcome"]["epochs"], 3);
    // 280 images make 6 batches, and 0.9 of them 5.
    assert_eq!(record["outcome"]["global_step"], 15);
    let csv = String::from_utf8(lab.read(&run, "metrics.csv")).unwrap();
    let last = csv.lines().last().unwrap();
    for metric in ["train_loss", "train_accuracy_epoch"] {
        let value = record["outcome"]["metrics"][metric].as_f64().unwrap();
        assert!(last.contains(&value.to_string()), "{metric} {value}: {last}");
    }

    let again = lab.train(&format!("--from {run}/run.json"));
    assert_eq!(again, "output/mine/version_1");
    lab.assert_same(&again, &run, "run again");
    assert_eq!(lab.run_json(&again)["options"], record["options"]);
    // What the command line gives goes before.
    let other = lab.train(&format!("--from {run}/run.json --seed 1 --name other"));
    assert!(lab.read(&other, "metrics.csv") != lab.read(&run, "metrics.csv"));
    assert_eq!(lab.run_json(&other)["options"]["lr"], 0.002);
}

#[test]
fn what_does_not_fit_the_run_is_refused_by_name() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16");
    let before = lab.read(&run, "metrics.csv");
    let refused = |code: i32, options: &str, names: &[&str]| {
        assert_refused(&mut lab.program(&format!("train --resume {run} {options}")), code, names);
    };
    for (option, then) in [
        ("--model mlr", "mlp"),
        ("--batch-size 32", "16"),
        ("--validation 0.25", "0.2"),
        ("--seed 1", "0"),
        ("--num-workers 0", "4"),
        ("--lr 0.02", "0.01"),
        ("--threads 2", "1"),
        ("--device cuda:1", "cpu"),
        ("--limit-train-batches 3", "none"),
    ] {
        refused(2, option, &[option, &run, &format!("used {then}")]);
    }
    refused(2, "--epochs 1", &["--epochs 1 is less than the 2", &run]);
    let labels = "data/MNIST/raw/train-labels-idx1-ubyte";
    let mut bytes = fs::read(lab.path().join(labels)).unwrap();
    bytes[8] ^= 1;
    fs::write(lab.path().join(labels), bytes).unwrap();
    refused(1, "--epochs 3", &[labels]);
    assert!(lab.read(&run, "metrics.csv") == before);
}

#[test]
fn what_is_no_run_to_go_on_with_is_refused_by_name_and_stays_as_it_is() {
    let lab = Lab::new();
    let refused = |options: &str, name: &str| {
        assert_refused(&mut lab.program(&format!("train {options}")), 1, &[name]);
    };
    refused("--resume nowhere", "nowhere");
    let mine = lab.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join(".tmp-important"), "mine").unwrap();
    refused("--resume mine", "mine");
    assert_eq!(names(&mine), [".tmp-important"]);
    refused("--from nowhere.json", "nowhere.json");
    assert!(!lab.path().join("output").exists());
}

#[test]
fn a_run_json_is_held_to_the_rules_of_the_command_line() {
    let lab = Lab::new();
    let run = lab.train("--epochs 1");
    let record = lab.run_json(&run);
    for (name, value, named) in [
        ("lr", json!(-1), "lr is -1, and must be a number from 0"),
        ("epoch", json!(3), "no option epoch"),
        ("seed", Value::Null, "seed is null, and must be a whole number"),
        ("epochs", json!("many"), "epochs is \"many\", and must be a whole number"),
        ("device", json!("tpu"), "device: must be auto, cpu, cuda"),
        ("vary", json!("init"), "vary: must be split, init"),
        ("limit_train_batches", json!(0), "limit_train_batches: must be a whole number"),
        ("threads", json!(0), "threads is 0, and must be"),
        ("name", json!("a/b"), "name is \"a/b\", and must be the name of a folder"),
    ] {
        let mut record = record.clone();
        record["options"][name] = value;
        fs::write(lab.path().join(&run).join("run.json"), record.to_string()).unwrap();
        let from = format!("{run}/run.json");
        assert_refused(&mut lab.program(&format!("train --from {from}")), 1, &[&from, named]);
    }
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
        fs::write(lab.path().join(&run).join("run.json"), record.to_string()).unwrap();
        lab.train(&format!("--resume {run}"));
        lab.run_json(&run)
    };
    let record = resume_with(&[("epochs", json!(4)), ("checkpoint_every", json!(3))]);
    assert_eq!(record["outcome"]["epochs"], 4);
    assert_eq!(record["options"]["checkpoint_every"], 3);
    // Options that decide the numbers are the checkpoint's.
    let record = resume_with(&[("epochs", json!(6)), ("lr", json!(0.5))]);
    assert_eq!(record["outcome"]["epochs"], 4);
    assert_eq!(record["options"]["lr"], 0.01);
}

#[test]
fn metrics_of_an_epoch_that_was_not_finished_do_not_stay_and_others_are_not_made_up() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16");
    let path = lab.path().join(&run).join("metrics.csv");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{before}2,49,0.5,,,\r\n")).unwrap();
    lab.train(&format!("--resume {run}"));
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let lines: Vec<&str> = before.lines().collect();
    for kept in [[&lines[..1], &lines[2..]].concat(), lines[..1].to_vec()] {
        fs::write(&path, kept.join("\r\n")).unwrap();
        let resume = format!("train --resume {run} --epochs 3");
        assert_refused(&mut lab.program(&resume), 1, &[&format!("{run}/metrics.csv")]);
    }
}
