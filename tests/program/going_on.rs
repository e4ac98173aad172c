//! What a run that goes on, or is repeated, needs: its data wherever one stands, run.json, a checkpoint of whichever
//! version; and that a terminal that is closed costs nothing. tests/program/interruption.rs has the other ways to be stopped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{checkout, data_dir, fashion_mnist, program};
use serde_json::Value;
use tempfile::tempdir;

/// `train` on 200 images, in a folder without any.
fn train_mlr(folder: impl AsRef<Path>, options: &str) -> assert_cmd::Command {
    let mut command = program(folder, &format!("train --model mlr --batch-size 8 {options} --data-dir"));
    command.arg(fashion_mnist());
    command
}

/// The same with SIGHUP as a terminal has it: whoever runs the tests may have it ignored, as `nohup` does.
fn train_on_a_terminal(folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_islp-mnist"), "train"]).args(options);
    command.current_dir(folder).env("OMP_NUM_THREADS", "1").env_remove("ISLP_MNIST_DATA_DIR");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run without an end, to be stopped.
fn start(folder: &Path) -> Child {
    let options = ["--model", "mlr", "--batch-size", "8", "--epochs", "1000000", "--data-dir"];
    train_on_a_terminal(folder, &options).arg(fashion_mnist()).spawn().unwrap()
}

const RUN: &str = "output/MNIST_MLR/version_0";

fn outcome(version_dir: impl AsRef<Path>) -> Value {
    let run_json: Value =
        serde_json::from_slice(&fs::read(version_dir.as_ref().join("run.json")).unwrap()).unwrap();
    run_json["outcome"].clone()
}

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        sleep(Duration::from_millis(1));
    }
}

/// The command line that an interrupted run says it goes on with.
fn command_to_go_on(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = stderr.lines().last().unwrap_or_default();
    let command = last.strip_prefix("interrupted; resume with islp-mnist ");
    command.unwrap_or_else(|| panic!("{stderr}")).to_string()
}

#[test]
fn a_terminal_that_is_closed_stops_a_run_which_then_goes_on_as_it_was_told_to() {
    let folder = tempdir().unwrap();
    let child = start(folder.path());
    let last = folder.path().join(RUN).join("checkpoints/last.safetensors");
    wait_until("the first checkpoint", || last.exists());
    send(&child, "HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(129), "{output:?}");
    let ended = outcome(folder.path().join(RUN));
    assert_eq!(ended["end"], "interrupted");
    let epochs = ended["epochs"].as_u64().unwrap();
    assert!(fs::read_link(&last).unwrap().to_str().unwrap().starts_with(&format!("epoch={}-", epochs - 1)));

    // Word for word, without --data-dir.
    let command = command_to_go_on(&output);
    program(&folder, &format!("{command} --max-time 0s")).assert().success().stdout(format!("{RUN}\n"));
    assert_eq!(outcome(folder.path().join(RUN))["epochs"], epochs + 1);
}

#[test]
fn a_terminal_that_is_closed_and_slurm_may_say_so_twice() {
    let folder = tempdir().unwrap();
    // A step takes a good part of a second.
    let options = ["--epochs", "1000", "--batch-size", "48000", "--data-dir"];
    for (version, (signal, exit_code)) in [("HUP", 129), ("USR1", 138)].into_iter().enumerate() {
        let run = format!("output/MNIST/version_{version}");
        let child = train_on_a_terminal(folder.path(), &options).arg(data_dir()).spawn().unwrap();
        wait_until("run.json", || folder.path().join(&run).join("run.json").exists());
        send(&child, signal);
        // Two signals that wait together are one.
        sleep(Duration::from_millis(20));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{output:?}");
        assert_eq!(command_to_go_on(&output), format!("train --resume {run}"));
        assert_eq!(outcome(folder.path().join(&run))["end"], "interrupted");
    }
}

#[test]
fn under_nohup_a_run_outlives_its_terminal() {
    let folder = tempdir().unwrap();
    let mut nohup = Command::new("nohup");
    nohup.arg(env!("CARGO_BIN_EXE_islp-mnist")).current_dir(&folder).env("OMP_NUM_THREADS", "1");
    nohup.args(["train", "--model", "mlr", "--batch-size", "8", "--epochs", "1000000", "--data-dir"]);
    nohup.arg(fashion_mnist()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = nohup.spawn().unwrap();
    let last = folder.path().join(RUN).join("checkpoints/last.safetensors");
    wait_until("the first checkpoint", || last.exists());
    send(&child, "HUP");
    // The epoch under way when the signal comes would be the last to be saved.
    for _ in 0..3 {
        let before = fs::read_link(&last).unwrap();
        wait_until("the next checkpoint", || fs::read_link(&last).is_ok_and(|now| now != before));
    }
    send(&child, "TERM");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_run_finds_its_data_again_from_any_folder() {
    let folder = tempdir().unwrap();
    let [here, there] = ["here", "there"].map(|name| folder.path().join(name));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    // The path given is relative to `here`.
    symlink(fashion_mnist(), here.join("images")).unwrap();
    program(&here, "train --model mlr --epochs 1 --data-dir images").assert().success();
    let run = here.join(RUN);
    program(&there, "train --epochs 2 --resume").arg(&run).assert().success();
    assert_eq!(outcome(&run)["epochs"], 2);
    program(&there, "train --from").arg(run.join("run.json")).assert().success();
    assert_eq!(outcome(there.join(RUN))["epochs"], 2);
    // A flag counts for more.
    program(&there, "train --data-dir nowhere --resume").arg(&run).assert().code(1);
}

#[test]
fn run_json_says_how_a_run_ended() {
    let folder = tempdir().unwrap();
    let end = |name: &str, options: &str, code: i32| {
        let mut command =
            program(&folder, &format!("train --name {name} {options} --batch-size 8 --data-dir"));
        let assert = command.arg(fashion_mnist()).assert().code(code);
        let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        (outcome(folder.path().join("output").join(name).join("version_0"))["end"].clone(), stderr)
    };
    assert_eq!(end("done", "--model mlr --epochs 1", 0).0, "max_epochs");
    assert_eq!(end("late", "--model mlr --max-time 0s", 0).0, "max_time");
    let (diverged, stderr) = end("diverged", "--model mlp --lr 1e30", 3);
    assert_eq!(diverged, "diverged");
    // As Python writes it, not with its 31 digits.
    assert!(stderr.contains("1e+30"), "{stderr}");
}

/// How tests/data/run_0.1 was made, its README says.
#[test]
fn a_run_of_version_0_1_goes_on() {
    let folder = tempdir().unwrap();
    let old = folder.path().join("run_0.1");
    // With its links.
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(checkout().join("tests/data/run_0.1"))
            .arg(&old)
            .status()
            .unwrap()
            .success()
    );
    let (old, new) = (old.join("version_0"), folder.path().join(RUN));
    let metrics = |version_dir: &Path| fs::read_to_string(version_dir.join("metrics.csv")).unwrap();
    let before = metrics(&old);
    train_mlr(&folder, "--epochs 1 --threads 1").assert().success();
    for version_dir in [&old, &new] {
        let mut command = program(&folder, "train --epochs 2 --resume");
        command.arg(version_dir).arg("--data-dir").arg(fashion_mnist()).assert().success();
        assert_eq!(outcome(version_dir)["end"], "max_epochs");
        assert!(version_dir.join("model.safetensors").exists());
    }
    assert!(metrics(&old).starts_with(&before), "what was there stays");
    // The values depend on the processor.
    let cells = |version_dir: &Path| -> Vec<String> {
        let filled = |cell: &str| if cell.contains('.') { "x".to_string() } else { cell.to_string() };
        metrics(version_dir)
            .lines()
            .map(|row| row.split(',').map(filled).collect::<Vec<_>>().join(","))
            .collect()
    };
    assert_eq!(cells(&old), cells(&new));
    // The new version has written it anew.
    let checkpoint = fs::canonicalize(old.join("checkpoints/last.safetensors")).unwrap();
    assert_eq!(checkpoint.file_name().unwrap(), "epoch=1-step=20.safetensors");
}
