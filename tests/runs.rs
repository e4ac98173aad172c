//! Whole runs: against Python, and what accuracy they come to.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use common::{data_dir, islp_mnist, python, stdout_of, write_small_mnist};
use tempfile::tempdir;

/// One run at a time: threads of libtorch that wait for a core keep it busy, so two runs at once take far more than
/// twice as long.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs notebook and program with the same options; fails with what `compare` says unless all is identical.
fn assert_parity(data_dir: &Path, options: &[&str]) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempdir().unwrap();
    let run = |command: &mut std::process::Command, side: &str| {
        let output = folder.path().join(side);
        let stdout =
            stdout_of(command.arg("--data-dir").arg(data_dir).arg("--output-dir").arg(&output).args(options));
        fs::write(output.join("stdout.txt"), stdout).unwrap();
        output
    };
    let reference = run(&mut python("scripts/notebook.py"), "reference");
    let candidate = run(islp_mnist().args(["reproduce", "--device", "cpu"]), "candidate");
    let compare = islp_mnist().arg("compare").args([reference, candidate]).output().unwrap();
    let report = String::from_utf8_lossy(&compare.stdout);
    assert!(compare.status.success(), "{options:?}: {}\n{report}", compare.status);
    assert!(report.contains("\nidentical: 5 files, 8 tensors, 0 differences"), "{report}");
}

#[test]
#[ignore = "needs the Python reference, which scripts/test.sh sets up and runs this with"]
fn runs_with_the_notebooks_options_are_pythons_over_30_epochs() {
    assert_parity(&data_dir(), &[]);
}

#[test]
#[ignore = "needs the Python reference, which scripts/test.sh sets up and runs this with"]
fn short_runs_with_other_options_are_pythons() {
    for options in [
        // Without workers every iteration draws a base seed; 960 divides the 48,000 training images.
        &["--epochs", "2", "--num-workers", "0", "--batch-size", "960", "--seed", "4294967303"][..],
        &[
            "--epochs",
            "3",
            "--batch-size",
            "13000",
            "--validation",
            "0.2",
            "--num-workers",
            "1",
            "--seed",
            "12",
        ],
        &["--epochs", "1", "--validation", "0.37", "--lr", "0.0005", "--threads", "1", "--num-workers", "2"],
        // The loss becomes NaN, and the predictions with it.
        &["--epochs", "1", "--lr", "1e30", "--batch-size", "600", "--seed", "18446744073709551615"],
    ] {
        assert_parity(&data_dir(), options);
    }
}

#[test]
#[ignore = "needs the Python reference, which scripts/test.sh sets up and runs this with"]
fn runs_on_a_small_data_set_are_pythons() {
    let folder = tempdir().unwrap();
    write_small_mnist(folder.path(), 400, 100);
    // The run of tests/golden/small_run.txt, a single step an epoch, and as many steps as there are images.
    assert_parity(folder.path(), &["--epochs", "3", "--batch-size", "64"]);
    assert_parity(folder.path(), &["--epochs", "2", "--batch-size", "500", "--num-workers", "0"]);
    assert_parity(
        folder.path(),
        &["--epochs", "1", "--batch-size", "1", "--num-workers", "0", "--validation", "0.5"],
    );
}

#[test]
fn thirty_epochs_come_to_the_accuracy_that_seeds_give() {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempdir().unwrap();
    let stdout = stdout_of(
        islp_mnist()
            .arg("reproduce")
            .arg("--data-dir")
            .arg(data_dir())
            .arg("--output-dir")
            .arg(folder.path()),
    );
    let accuracies: Vec<f64> = stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test_accuracy"))
        .map(|value| value.trim().parse().unwrap())
        .collect();
    let [mlp, mlr] = accuracies[..] else { panic!("two test tables expected:\n{stdout}") };
    assert!((0.95..=0.97).contains(&mlp), "the MLP's test accuracy is {mlp}");
    assert!((0.91..=0.93).contains(&mlr), "the MLR's test accuracy is {mlr}");
}
