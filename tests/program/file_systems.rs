//! File systems without links, locks or synchronised folders. `strace` has the system refuse them.

use std::fs;

use crate::common::processes;
use crate::common::python::{BOTH, Side};
use crate::common::{Lab, assert_same_bits, command, names, output, strace, tensors};
use predicates::str::contains;

const NO_LINKS: &str = "symlink,symlinkat:error=EPERM";
const NO_LOCKS: &str = "flock:error=ENOSYS";
/// The first call is for a file, the second for its folder, and so on.
const NO_FOLDER_SYNC: &str = "fsync:error=EINVAL:when=2+2";
const OPTIONS: &str = "--batch-size 32 --device cpu --threads 1";

/// `train` where the system refuses something.
fn refusing(lab: &Lab, refused: &str, side: Side, options: &str) -> assert_cmd::Command {
    assert_cmd::Command::from_std(strace(refused, side.command(lab, options)))
}

/// Fails unless two runs left the same numbers, and only the latest and the best checkpoint.
fn assert_same_run(lab: &Lab, run: &str, whole: &str) {
    lab.assert_same_numbers(run, whole, run);
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

fn assert_resumes_without_links(lab: &Lab, whole: &str, [first, second, third]: [Side; 3]) {
    let train = |side: Side, options: &str| {
        output(&mut refusing(lab, NO_LINKS, side, options)).0.trim_end().to_string()
    };
    let run = train(first, &format!("{OPTIONS} --epochs 2 --lr 0.05 --name without_links"));
    let last = lab.path().join(&run).join("checkpoints/last.safetensors");
    assert!(fs::symlink_metadata(&last).unwrap().is_file(), "a copy where no link can be made");
    train(second, &format!("--epochs 4 --resume {run}"));
    train(third, &format!("--epochs 5 --resume {run}"));
    assert_same_run(lab, &run, whole);
    lab.stdout(&format!("test --checkpoint {run}"));
}

#[test]
#[ignore = "needs strace"]
fn a_run_where_links_are_refused_keeps_copies_and_resumes_under_strace() {
    let lab = Lab::new();
    let whole = whole(&lab);
    assert_resumes_without_links(&lab, &whole, [Side::Rust; 3]);
}

#[test]
#[ignore = "needs the Python reference"]
fn either_side_resumes_where_links_are_refused_under_strace() {
    let lab = Lab::new();
    let whole = whole(&lab);
    assert_resumes_without_links(&lab, &whole, [Side::Python; 3]);
    assert_resumes_without_links(&lab, &whole, [Side::Python, Side::Rust, Side::Python]);
}

#[test]
fn a_run_that_was_copied_with_its_links_followed_resumes() {
    let lab = Lab::new();
    let whole = whole(&lab);
    let run = lab.train(&format!("{OPTIONS} --epochs 3 --lr 0.05 --name first"));
    processes::run(
        "cp",
        &["-rL", lab.path().join(&run).to_str().unwrap(), lab.path().join("copy").to_str().unwrap()],
    );
    lab.train("--epochs 5 --resume copy");
    assert_same_run(&lab, "copy", &whole);
}

fn assert_trains_without_folder_sync(side: Side) {
    let lab = Lab::new();
    let whole = lab.train(&format!("{OPTIONS} --epochs 1 --name whole"));
    output(&mut refusing(&lab, NO_FOLDER_SYNC, side, &format!("{OPTIONS} --epochs 1 --name refused")));
    assert_same_run(&lab, "output/refused/version_0", &whole);
}

#[test]
#[ignore = "needs strace"]
fn a_folder_that_cannot_be_synchronised_is_no_error_under_strace() {
    assert_trains_without_folder_sync(Side::Rust);
}

#[test]
#[ignore = "needs the Python reference"]
fn a_folder_that_cannot_be_synchronised_is_no_error_in_python_under_strace() {
    assert_trains_without_folder_sync(Side::Python);
}

#[test]
#[ignore = "needs the Python reference"]
fn a_file_that_cannot_be_synchronised_is_an_error_on_both_sides_under_strace() {
    let lab = Lab::new();
    for refused in ["fsync:error=EINVAL:when=1", "fsync:error=EIO:when=2"] {
        for side in BOTH {
            let mut train = refusing(&lab, refused, side, &format!("{OPTIONS} --epochs 1"));
            train.assert().code(1).stdout("").stderr(contains("run.json: "));
            let left = names(lab.path().join("output/MNIST"));
            assert!(
                left.is_empty() || refused.contains("EIO"),
                "a folder of a run that never began: {left:?}"
            );
        }
    }
}

/// The warnings of a command that must succeed where nothing can be locked.
fn warnings(mut command: assert_cmd::Command) -> Vec<String> {
    let (_, stderr) = output(&mut command);
    stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_string).collect()
}

fn assert_trains_without_locks(side: Side) {
    let lab = Lab::new();
    let whole = lab.train(&format!("{OPTIONS} --epochs 3 --name whole"));
    let run = "output/unlocked/version_0";
    for options in [format!("{OPTIONS} --epochs 2 --name unlocked"), format!("--epochs 3 --resume {run}")] {
        let warnings = warnings(refusing(&lab, NO_LOCKS, side, &options));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(run) && warnings[0].contains("second process"), "{warnings:?}");
    }
    assert_same_run(&lab, run, &whole);
}

#[test]
#[ignore = "needs strace"]
fn without_locks_a_run_resumes_and_names_what_is_not_guarded_under_strace() {
    assert_trains_without_locks(Side::Rust);
}

#[test]
#[ignore = "needs the Python reference"]
fn without_locks_python_resumes_and_names_what_is_not_guarded_under_strace() {
    assert_trains_without_locks(Side::Python);
}

#[test]
#[ignore = "needs strace"]
fn without_locks_a_study_warns_once_which_promise_it_loses_under_strace() {
    let lab = Lab::new();
    let study = "study --seeds 0..1 --epochs 1 --batch-size 32 --device cpu --output-dir";
    let without = strace(NO_LOCKS, command(lab.path(), &format!("{study} without")));
    let warnings = warnings(assert_cmd::Command::from_std(without));
    assert!(warnings.len() == 1 && warnings[0].contains("two commands"), "{warnings:?}");
    lab.stdout(&format!("{study} with"));
    let weights = |folder: &str| -> Vec<String> {
        let csv = lab.text(&format!("{folder}/study.csv"));
        csv.lines().map(|line| line.split(',').nth(9).unwrap().to_string()).collect()
    };
    assert_eq!(weights("without"), weights("with"));
    assert_eq!(weights("with").len(), 5, "a header and four runs");
}
