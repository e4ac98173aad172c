//! `train`: against Lightning, and that a run that was stopped comes to what it would have come to.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{data_dir, error_of, islp_mnist, python, small_mnist, stdout_of, train};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

/// The folder that a run wrote, which is all that it prints.
fn version_dir(folder: &TempDir, options: &[&str]) -> PathBuf {
    folder.path().join(stdout_of(&mut train(folder, options)).trim_end())
}

fn read(version_dir: &Path, file: &str) -> Vec<u8> {
    fs::read(version_dir.join(file))
        .unwrap_or_else(|error| panic!("{}: {error}", version_dir.join(file).display()))
}

fn run_json(version_dir: &Path) -> Value {
    serde_json::from_slice(&read(version_dir, "run.json")).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs the Python reference, which scripts/test.sh sets up and runs this with"]
fn metrics_and_weights_are_lightnings() {
    for options in [
        &["--model", "mlp", "--epochs", "2", "--seed", "7"][..],
        &["--model", "mlr", "--epochs", "2", "--num-workers", "0", "--limit-train-batches", "60"],
        &[
            "--model",
            "mlp",
            "--epochs",
            "3",
            "--num-workers",
            "2",
            "--limit-train-batches",
            "0.3",
            "--batch-size",
            "200",
        ],
    ] {
        let folder = tempdir().unwrap();
        let run = |command: &mut Command, side: &str| {
            let output = folder.path().join(side);
            stdout_of(
                command.args(options).arg("--data-dir").arg(data_dir()).arg("--output-dir").arg(&output),
            );
            output
        };
        let reference = run(&mut python("tests/train.py"), "reference");
        let candidate = run(islp_mnist().args(["train", "--device", "cpu"]), "candidate");
        let compare = islp_mnist().arg("compare").args([reference, candidate]).output().unwrap();
        let report = String::from_utf8_lossy(&compare.stdout);
        assert!(compare.status.success(), "{options:?}: {report}");
        assert!(report.contains("\nidentical: 2 files"), "{report}");
    }
}

#[test]
fn a_run_that_was_stopped_at_any_epoch_comes_to_the_same_bytes() {
    let folder = small_mnist();
    for options in [
        &["--model", "mlp", "--batch-size", "8"][..],
        &["--model", "mlr", "--batch-size", "8"],
        &["--model", "mlp", "--batch-size", "32", "--num-workers", "0", "--seed", "9"],
        &["--model", "mlr", "--num-workers", "0", "--lr", "0.3", "--limit-train-batches", "1"],
        &[
            "--model",
            "mlp",
            "--validation",
            "0.61",
            "--lr",
            "1e-4",
            "--limit-train-batches",
            "0.5",
            "--batch-size",
            "16",
        ],
        &[
            "--model",
            "mlp",
            "--batch-size",
            "64",
            "--checkpoint-every",
            "3",
            "--seed",
            "18446744073709551615",
        ],
    ] {
        let whole = version_dir(&folder, &[options, &["--epochs", "6"]].concat());
        for stop in 1..6 {
            let stopped = version_dir(&folder, &[options, &["--epochs", &stop.to_string()]].concat());
            let stopped_metrics = read(&stopped, "metrics.csv");
            assert!(stopped_metrics != read(&whole, "metrics.csv"));
            let resumed = version_dir(&folder, &["--resume", stopped.to_str().unwrap(), "--epochs", "6"]);
            assert_eq!(resumed, stopped);
            for file in ["metrics.csv", "model.safetensors", "accuracy.png", "accuracy.svg"] {
                assert!(
                    read(&resumed, file) == read(&whole, file),
                    "{options:?}, stopped at {stop}: {file} differs"
                );
            }
        }
    }
}

#[test]
fn a_run_that_was_stopped_after_every_epoch_comes_to_the_same_bytes() {
    let folder = small_mnist();
    let options = ["--epochs", "5", "--batch-size", "16", "--model", "mlp"];
    let whole = version_dir(&folder, &options);
    let output = train(&folder, &[&options[..], &["--max-time", "0s"]].concat()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("Time limit reached. Elapsed time is 0:00:00. Signaling Trainer to stop."),
        "{said}"
    );
    let stopped = folder.path().join(String::from_utf8(output.stdout).unwrap().trim_end());
    for epochs in 1..5 {
        assert_eq!(run_json(&stopped)["outcome"]["epochs"], epochs);
        version_dir(&folder, &["--resume", stopped.to_str().unwrap(), "--max-time", "0s"]);
    }
    for file in ["metrics.csv", "model.safetensors"] {
        assert!(read(&stopped, file) == read(&whole, file), "{file} differs");
    }
    // There is nothing left to do, and nothing changes.
    version_dir(&folder, &["--resume", stopped.to_str().unwrap()]);
    assert!(read(&stopped, "metrics.csv") == read(&whole, "metrics.csv"));
}

#[test]
fn a_run_that_died_goes_on_from_its_last_checkpoint_or_from_the_start() {
    let folder = small_mnist();
    let whole = version_dir(&folder, &["--epochs", "3", "--batch-size", "16"]);
    let died = version_dir(&folder, &["--epochs", "2", "--batch-size", "16"]);
    // As when it died after it had logged, but not saved, the third epoch.
    fs::copy(whole.join("metrics.csv"), died.join("metrics.csv")).unwrap();
    let resume = || version_dir(&folder, &["--resume", died.to_str().unwrap(), "--epochs", "3"]);
    resume();
    assert!(read(&died, "metrics.csv") == read(&whole, "metrics.csv"));
    assert!(read(&died, "model.safetensors") == read(&whole, "model.safetensors"));
    // As when it died before its first checkpoint.
    fs::remove_dir_all(died.join("checkpoints")).unwrap();
    resume();
    assert!(read(&died, "metrics.csv") == read(&whole, "metrics.csv"));
    assert!(read(&died, "model.safetensors") == read(&whole, "model.safetensors"));
}

#[test]
fn the_latest_and_the_best_checkpoint_are_kept() {
    let folder = small_mnist();
    // At this rate the validation loss goes up and down.
    let options = ["--model", "mlr", "--batch-size", "16", "--lr", "0.05"];
    let losses = |run: &Path| -> Vec<f64> {
        let csv = String::from_utf8(read(run, "metrics.csv")).unwrap();
        let column = csv.lines().next().unwrap().split(',').position(|name| name == "valid_loss").unwrap();
        csv.lines().skip(1).filter_map(|row| row.split(',').nth(column)?.parse().ok()).collect()
    };
    for every in [1, 2, 4] {
        let run = version_dir(
            &folder,
            &[&options[..], &["--epochs", "7", "--checkpoint-every", &every.to_string()]].concat(),
        );
        let losses = losses(&run);
        // Whatever the epochs between checkpoints, the best of all epochs is kept.
        let best = (0..7).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
        // 320 images make 20 steps an epoch.
        let name = |epoch: usize| format!("epoch={epoch}-step={}.safetensors", 20 * (epoch + 1));
        let mut expected =
            vec!["best.safetensors".to_string(), name(best), name(6), "last.safetensors".into()];
        expected.sort();
        expected.dedup();
        let checkpoints = run.join("checkpoints");
        assert_eq!(names(&checkpoints), expected, "every {every}: {losses:?}");
        assert_eq!(fs::read_link(checkpoints.join("last.safetensors")).unwrap(), Path::new(&name(6)));
        assert_eq!(fs::read_link(checkpoints.join("best.safetensors")).unwrap(), Path::new(&name(best)));
    }
}

#[test]
fn a_checkpoint_tests_as_the_weights_do() {
    let folder = small_mnist();
    let run = version_dir(&folder, &["--epochs", "2", "--batch-size", "16"]);
    let test = |checkpoint: PathBuf| {
        let mut command = islp_mnist();
        stdout_of(command.current_dir(&folder).args(["test", "--json", "--checkpoint"]).arg(checkpoint))
    };
    let expected = test(run.join("model.safetensors"));
    assert_eq!(test(run.join("checkpoints/last.safetensors")), expected);
    assert_eq!(test(run.clone()), expected);
    // The folder's last checkpoint counts, not weights that an earlier end of the run left.
    fs::copy(run.join("checkpoints/last.safetensors"), folder.path().join("old.safetensors")).unwrap();
    fs::remove_file(run.join("model.safetensors")).unwrap();
    assert_eq!(test(run), expected);
}

#[test]
fn the_run_json_says_what_was_run_and_is_enough_to_run_it_again() {
    let folder = small_mnist();
    let options = [
        "--model",
        "mlr",
        "--epochs",
        "3",
        "--batch-size",
        "50",
        "--lr",
        "0.002",
        "--validation",
        "0.3",
        "--seed",
        "18446744073709551615",
        "--num-workers",
        "0",
        "--limit-train-batches",
        "0.9",
        "--name",
        "mine",
    ];
    let run = version_dir(&folder, &options);
    assert_eq!(run, folder.path().join("output/mine/version_0"));
    let record = run_json(&run);
    assert_eq!(
        record["options"],
        json!({
            "model": "mlr", "epochs": 3, "batch_size": 50, "validation": 0.3, "seed": 18446744073709551615u64,
            "num_workers": 0, "lr": 0.002, "threads": 1, "device": "cpu", "limit_train_batches": 0.9,
            "checkpoint_every": 1, "name": "mine",
        })
    );
    assert_eq!(record["data"].as_object().unwrap().len(), 4);
    assert_eq!(record["environment"]["tch"], "0.26.0");
    assert_eq!(record["environment"]["islp_mnist"], env!("CARGO_PKG_VERSION"));
    assert!(record["environment"]["libtorch"].as_str().unwrap().starts_with("2.13.0"), "{record}");
    assert_eq!(record["outcome"]["epochs"], 3);
    // 280 images make 6 batches, and 0.9 of them 5.
    assert_eq!(record["outcome"]["global_step"], 15);
    let csv = String::from_utf8(read(&run, "metrics.csv")).unwrap();
    let last = csv.lines().last().unwrap();
    for metric in ["train_loss", "train_accuracy_epoch"] {
        let value = record["outcome"]["metrics"][metric].as_f64().unwrap();
        assert!(last.contains(&value.to_string()), "{metric} {value}: {last}");
    }

    let path = run.join("run.json");
    let again = version_dir(&folder, &["--from", path.to_str().unwrap()]);
    assert_eq!(again, folder.path().join("output/mine/version_1"));
    for file in ["metrics.csv", "model.safetensors"] {
        assert!(read(&again, file) == read(&run, file), "{file} differs");
    }
    assert_eq!(run_json(&again)["options"], record["options"]);
    // What the command line gives goes before.
    let other = version_dir(&folder, &["--from", path.to_str().unwrap(), "--seed", "1", "--name", "other"]);
    assert!(read(&other, "metrics.csv") != read(&run, "metrics.csv"));
    assert_eq!(run_json(&other)["options"]["lr"], 0.002);
}

#[test]
fn what_does_not_fit_the_run_is_refused_by_name() {
    let folder = small_mnist();
    let run = version_dir(&folder, &["--epochs", "2", "--batch-size", "16"]);
    let run = run.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_string();
    let before = read(&folder.path().join(&run), "metrics.csv");
    let refused = |code: i32, options: &[&str]| {
        let mut command = train(&folder, &[&["--resume", &run], options].concat());
        error_of(&mut command, code)
    };
    for (options, what, then) in [
        (["--model", "mlr"], "--model mlr", "mlp"),
        (["--batch-size", "32"], "--batch-size 32", "16"),
        (["--validation", "0.25"], "--validation 0.25", "0.2"),
        (["--seed", "1"], "--seed 1", "0"),
        (["--num-workers", "0"], "--num-workers 0", "4"),
        (["--lr", "0.02"], "--lr 0.02", "0.01"),
        (["--threads", "2"], "--threads 2", "1"),
        (["--device", "cuda:1"], "--device cuda:1", "cpu"),
        (["--limit-train-batches", "3"], "--limit-train-batches 3", "none"),
    ] {
        assert_eq!(
            refused(2, &options),
            format!(
                "error: {what} does not go with --resume {run}, whose run has {then}: leave it out, or start a new run \
                 with --from {run}/run.json"
            )
        );
    }
    assert_eq!(
        refused(2, &["--epochs", "1"]),
        format!("error: --epochs 1 is less than the 2 that the run in {run} has done")
    );
    let labels = folder.path().join("data/MNIST/raw/train-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes[8] ^= 1;
    fs::write(&labels, bytes).unwrap();
    assert_eq!(
        refused(1, &["--epochs", "3"]),
        "error: data/MNIST/raw/train-labels-idx1-ubyte: not the file that the run was trained on; --data-dir names \
         another folder"
    );
    assert!(read(&folder.path().join(&run), "metrics.csv") == before);
}

#[test]
fn what_is_no_run_to_go_on_with_is_refused() {
    let folder = small_mnist();
    let refused = |options: &[&str], code| error_of(&mut train(&folder, options), code);
    assert_eq!(
        refused(&["--resume", "nowhere"], 1),
        "error: --resume nowhere: no such folder; name the version_N folder of a run"
    );
    fs::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(
        refused(&["--resume", "empty"], 1),
        "error: --resume empty: there is no checkpoint of `train` to go on from: cannot read empty/run.json: No such \
         file or directory (os error 2); name the run.json of a run, or its folder"
    );
    let run = version_dir(&folder, &["--epochs", "1", "--name", "run"]);
    let last = run.join("checkpoints/last.safetensors");
    let whole = fs::read(&last).unwrap();
    let damage = |bytes: &[u8]| {
        fs::write(&last, bytes).unwrap();
        refused(&["--resume", "output/run/version_0", "--epochs", "2"], 1)
    };
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(
        damage(&flipped),
        "error: output/run/version_0/checkpoints/last.safetensors: damaged: it differs from what was written"
    );
    assert_eq!(
        damage(&fs::read(run.join("model.safetensors")).unwrap()),
        "error: output/run/version_0/checkpoints/last.safetensors: holds weights, but no checkpoint to go on from"
    );
    let cut = damage(&whole[..whole.len() - 1]);
    assert!(
        cut.starts_with(
            "error: output/run/version_0/checkpoints/last.safetensors: not a valid safetensors file: "
        ),
        "{cut}"
    );
    fs::remove_file(&last).unwrap();
    fs::write(&last, &whole).unwrap();
    let csv = String::from_utf8(read(&run, "metrics.csv")).unwrap();
    fs::write(run.join("metrics.csv"), csv.lines().next().unwrap()).unwrap();
    assert_eq!(
        refused(&["--resume", "output/run/version_0", "--epochs", "2"], 1),
        "error: output/run/version_0/metrics.csv: not as it was when the checkpoint was saved after epoch 0; put the \
         file back, or start a new run"
    );
}

#[test]
fn a_run_json_is_held_to_the_rules_of_the_command_line() {
    let folder = small_mnist();
    let run = version_dir(&folder, &["--epochs", "1"]);
    let path = run.join("run.json");
    let record = run_json(&run);
    let with = |name: &str, value: Value| {
        let mut record = record.clone();
        record["options"][name] = value;
        fs::write(&path, record.to_string()).unwrap();
        let error = error_of(&mut train(&folder, &["--from", path.to_str().unwrap()]), 1);
        // serde_json adds a place, which depends on the folder's name.
        error.split_once(" at line ").unwrap().0.to_string()
    };
    let message = |rest: &str| format!("error: {}: not the run.json of a run: {rest}", path.display());
    assert_eq!(
        with("lr", json!(-1)),
        message("invalid value '-1' for '--lr <LR>': must be a number from 0 to 3.4e38, such as 0.01")
    );
    assert_eq!(with("epoch", json!(3)), message("unexpected argument '--epoch' found"));
    assert_eq!(with("seed", Value::Null), message("lacks --seed"));
    assert_eq!(
        with("epochs", json!("many")),
        message("invalid value 'many' for '--epochs <EPOCHS>': must be a whole number, 1 or more")
    );
}

#[test]
fn options_that_make_no_run_are_refused_by_name() {
    let folder = small_mnist();
    let refused = |options: &[&str]| error_of(&mut train(&folder, options), 2);
    let limit =
        "must be a whole number, 1 or more, or a fraction with a decimal point, up to 1.0; try '--help'";
    for value in ["0", "0.0", "1.5", "nan", "many", "-3"] {
        assert_eq!(
            refused(&["--limit-train-batches", value]),
            format!("error: invalid value '{value}' for '--limit-train-batches <N|FRACTION>': {limit}")
        );
    }
    assert_eq!(
        refused(&["--limit-train-batches", "0.1"]),
        "error: --limit-train-batches 0.1 leaves no batch of the 2 in an epoch; take more"
    );
    let plain = "must be the name of a folder, without '/' and '.' first; try '--help'";
    for name in ["", "..", "a/b", "/tmp", ".hidden"] {
        assert_eq!(
            refused(&["--name", name]),
            format!("error: invalid value '{name}' for '--name <NAME>': {plain}")
        );
    }
    assert_eq!(
        refused(&["--model", "cnn"]),
        "error: invalid value 'cnn' for '--model <MODEL>' [possible values: mlp, mlr]; try '--help'"
    );
    assert!(!folder.path().join("output").exists(), "nothing is left behind");
}

#[test]
fn a_run_that_was_extended_and_died_before_its_next_checkpoint_stays_extended() {
    let folder = small_mnist();
    let run = version_dir(&folder, &["--epochs", "2", "--batch-size", "16"]);
    // As an extended run writes it when it begins.
    let mut record = run_json(&run);
    record["options"]["epochs"] = json!(4);
    record["options"]["checkpoint_every"] = json!(3);
    fs::write(run.join("run.json"), record.to_string()).unwrap();
    version_dir(&folder, &["--resume", run.to_str().unwrap()]);
    assert_eq!(run_json(&run)["outcome"]["epochs"], 4);
    assert_eq!(run_json(&run)["options"]["checkpoint_every"], 3);
    // Options that decide the numbers are the checkpoint's.
    record["options"]["epochs"] = json!(6);
    record["options"]["lr"] = json!(0.5);
    fs::write(run.join("run.json"), record.to_string()).unwrap();
    version_dir(&folder, &["--resume", run.to_str().unwrap()]);
    assert_eq!(run_json(&run)["outcome"]["epochs"], 4);
    assert_eq!(run_json(&run)["options"]["lr"], 0.01);
}

#[test]
fn metrics_of_an_epoch_that_was_not_finished_do_not_stay() {
    let folder = small_mnist();
    let run = version_dir(&folder, &["--epochs", "2", "--batch-size", "16"]);
    let before = read(&run, "metrics.csv");
    let with_more = [&before[..], b"2,49,0.5,,,\r\n"].concat();
    fs::write(run.join("metrics.csv"), with_more).unwrap();
    version_dir(&folder, &["--resume", run.to_str().unwrap()]);
    assert!(read(&run, "metrics.csv") == before);
    // A row that is missing in the middle is not made up for.
    let text = String::from_utf8(before).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(run.join("metrics.csv"), [&lines[..1], &lines[2..]].concat().join("\r\n")).unwrap();
    let run = run.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_string();
    assert_eq!(
        error_of(&mut train(&folder, &["--resume", &run]), 1),
        format!(
            "error: {run}/metrics.csv: not as it was when the checkpoint was saved after epoch 1; put the file back, or \
             start a new run"
        )
    );
}

#[test]
fn a_folder_that_is_no_run_stays_as_it_is() {
    let folder = small_mnist();
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join(".tmp-important"), "mine").unwrap();
    error_of(&mut train(&folder, &["--resume", "mine"]), 1);
    assert_eq!(names(&mine), [".tmp-important"]);
}
