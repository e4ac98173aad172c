//! File systems that can't do all that a disk of one's own can: no links, no locks, no synchronising of folders. `strace`
//! has the system refuse them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Lab, assert_same_bits, python, strace, tensors};
use predicates::str::contains;

const NO_LINKS: &str = "symlink,symlinkat:error=EPERM";
const NO_LOCKS: &str = "flock:error=ENOSYS";
/// The first is a file's, the second its folder's, and so on.
const NO_FOLDER_SYNC: &str = "fsync:error=EINVAL:when=2+2";
const OPTIONS: &str = "--batch-size 32 --device cpu --threads 1";

/// `train` of one side, in a lab.
fn train(lab: &Lab, is_python: bool, options: &str) -> Command {
    let options: Vec<&str> = options.split_whitespace().collect();
    if !is_python {
        return crate::common::train(lab.path(), &options);
    }
    let mut command = python("scripts/train.py");
    command.current_dir(lab.path()).args(options).env("OMP_NUM_THREADS", "1");
    command
}

/// Runs one side's `train` to its end where the system refuses something; the run's folder.
fn train_where(lab: &Lab, refused: &str, is_python: bool, options: &str) -> String {
    let command = strace(refused, train(lab, is_python, &format!("{OPTIONS} {options}")));
    let assert = assert_cmd::Command::from_std(command).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap().trim_end().to_string()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Fails unless the two runs left the same, and of the checkpoints just those that are the latest and the best.
fn assert_same_run(lab: &Lab, run: &str, whole: &str) {
    for file in ["metrics.csv", "model.safetensors"] {
        assert!(lab.read(run, file) == lab.read(whole, file), "{run}: {file} differs");
    }
    let [ours, theirs] = [run, whole].map(|run| lab.path().join(run).join("checkpoints"));
    assert_eq!(names(&ours), names(&theirs), "{run}");
    for link in ["last.safetensors", "best.safetensors"] {
        let target = fs::read_link(theirs.join(link)).unwrap();
        let [ours, theirs] = [tensors(&ours.join(link)), tensors(&theirs.join(&target))];
        assert!(ours.keys().eq(theirs.keys()), "{run}: {link} is not {target:?}");
        for (name, tensor) in &ours {
            assert_same_bits(&format!("{run}: {name} of {link}, {target:?}"), tensor, &theirs[name]);
        }
    }
}

/// A run in one go, with a learning rate at which the best epoch is not the last.
fn whole(lab: &Lab) -> String {
    lab.train(&format!("{OPTIONS} --epochs 5 --lr 0.05 --name whole"))
}

fn assert_goes_on_without_links(lab: &Lab, whole: &str, name: &str, sides: [bool; 3]) {
    let [first, second, third] = sides;
    let run = train_where(lab, NO_LINKS, first, &format!("--epochs 2 --lr 0.05 --name {name}"));
    let last = lab.path().join(&run).join("checkpoints/last.safetensors");
    assert!(fs::symlink_metadata(&last).unwrap().is_file(), "a copy where no link can be made");
    train_where(lab, NO_LINKS, second, &format!("--epochs 4 --resume {run}"));
    train_where(lab, NO_LINKS, third, &format!("--epochs 5 --resume {run}"));
    assert_same_run(lab, &run, whole);
    lab.program(&format!("test --checkpoint {run}")).assert().success();
}

#[test]
#[ignore = "needs strace"]
fn a_run_where_links_are_refused_keeps_copies_and_goes_on_under_strace() {
    let lab = Lab::new();
    let whole = whole(&lab);
    assert_goes_on_without_links(&lab, &whole, "copies", [false; 3]);
}

#[test]
#[ignore = "needs the Python reference"]
fn either_side_goes_on_where_links_are_refused_under_strace() {
    let lab = Lab::new();
    let whole = whole(&lab);
    assert_goes_on_without_links(&lab, &whole, "python", [true; 3]);
    assert_goes_on_without_links(&lab, &whole, "both", [true, false, true]);
}

#[test]
fn a_run_that_was_copied_with_its_links_followed_goes_on() {
    let lab = Lab::new();
    let whole = whole(&lab);
    let run = lab.train(&format!("{OPTIONS} --epochs 3 --lr 0.05 --name first"));
    let copy = "output/copy/version_0";
    fs::create_dir_all(lab.path().join("output/copy")).unwrap();
    let mut cp = Command::new("cp");
    assert!(cp.current_dir(lab.path()).args(["-rL", &run, copy]).status().unwrap().success());
    lab.train(&format!("--epochs 5 --resume {copy}"));
    assert_same_run(&lab, copy, &whole);
}

fn assert_trains_without_folder_sync(is_python: bool) {
    let lab = Lab::new();
    let whole = lab.train(&format!("{OPTIONS} --epochs 1 --name whole"));
    let run = train_where(&lab, NO_FOLDER_SYNC, is_python, "--epochs 1 --name refused");
    assert_same_run(&lab, &run, &whole);
}

#[test]
#[ignore = "needs strace"]
fn a_folder_that_cannot_be_synchronised_is_no_error_under_strace() {
    assert_trains_without_folder_sync(false);
}

#[test]
#[ignore = "needs the Python reference"]
fn a_folder_that_cannot_be_synchronised_is_no_error_in_python_under_strace() {
    assert_trains_without_folder_sync(true);
}

#[test]
#[ignore = "needs the Python reference"]
fn a_file_that_cannot_be_synchronised_is_an_error_on_both_sides_under_strace() {
    let lab = Lab::new();
    for (side, refused) in [
        (false, "fsync:error=EINVAL:when=1"),
        (true, "fsync:error=EINVAL:when=1"),
        (false, "fsync:error=EIO:when=2"),
        (true, "fsync:error=EIO:when=2"),
    ] {
        let options = format!("{OPTIONS} --epochs 1");
        let mut command = assert_cmd::Command::from_std(strace(refused, train(&lab, side, &options)));
        command.assert().code(1).stdout("").stderr(contains("run.json: "));
        let left = names(&lab.path().join("output/MNIST"));
        assert!(left.is_empty() || refused.contains("EIO"), "no folder of a run that never began: {left:?}");
    }
}

/// What stderr says of locks.
fn warnings(command: Command) -> Vec<String> {
    let assert = assert_cmd::Command::from_std(strace(NO_LOCKS, command)).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_string).collect()
}

fn assert_trains_without_locks(lab: &Lab, is_python: bool, name: &str) {
    let whole = lab.train(&format!("{OPTIONS} --epochs 3 --name whole"));
    let run = format!("output/{name}/version_0");
    for options in [format!("{OPTIONS} --epochs 2 --name {name}"), format!("--epochs 3 --resume {run}")] {
        let warnings = warnings(train(lab, is_python, &options));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(&run) && warnings[0].contains("second process"), "{warnings:?}");
    }
    assert_same_run(lab, &run, &whole);
}

#[test]
#[ignore = "needs strace"]
fn without_locks_a_run_goes_on_and_says_what_is_not_guarded_under_strace() {
    assert_trains_without_locks(&Lab::new(), false, "rust");
}

#[test]
#[ignore = "needs the Python reference"]
fn without_locks_python_goes_on_and_says_what_is_not_guarded_under_strace() {
    assert_trains_without_locks(&Lab::new(), true, "python");
}

#[test]
#[ignore = "needs strace"]
fn without_locks_a_study_says_once_which_promise_it_loses_under_strace() {
    let lab = Lab::new();
    let study = |folder: &str| {
        let mut command = crate::common::islp_mnist();
        let options = "study --seeds 0..1 --epochs 1 --batch-size 32 --device cpu --output-dir";
        command.current_dir(lab.path()).args(options.split_whitespace()).arg(folder);
        command
    };
    let said = warnings(study("without"));
    assert!(said.len() == 1 && said[0].contains("two commands"), "{said:?}");
    assert!(study("with").output().unwrap().status.success());
    let weights = |folder: &str| {
        let csv = String::from_utf8(lab.read(folder, "study.csv")).unwrap();
        csv.lines().map(|line| line.split(',').nth(9).unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(weights("without"), weights("with"));
    assert_eq!(weights("with").len(), 5, "a header and four runs");
}
