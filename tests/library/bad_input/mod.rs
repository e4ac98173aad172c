//! Everything the program reads, damaged in many ways: each damage is refused in one line that names the place, or
//! accepted only if it leaves a valid file. Every run makes a sample of the tries; the slow tests make all, and count them
//! for docs/robustness.md.

mod checkpoints;
mod idx;
mod metrics_csv;
mod tensors;
mod weights;

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use islp_mnist::torch::Generator;

/// The outcome of a try: as it should be, or what went wrong.
type Verdict = Result<(), String>;

/// Makes the tries of one kind, and counts them.
struct Tries {
    every: usize,
    seen: usize,
    tried: usize,
    passed: usize,
}

/// Makes one of `every` tries.
fn sample(every: usize, make: impl FnOnce(&mut Tries)) {
    let tries = Tries::made(every, make);
    assert!(tries.tried >= 50, "only {} tries are no sample", tries.tried);
    assert_eq!(tries.passed, tries.tried, "see above");
}

/// Makes all tries of a kind.
fn all(kind: &str, make: impl FnOnce(&mut Tries)) {
    let tries = Tries::made(1, make);
    crate::common::tally(kind, tries.tried, tries.passed);
}

impl Tries {
    fn made(every: usize, make: impl FnOnce(&mut Tries)) -> Self {
        // The tests run at the same time.
        tch::set_num_threads(1);
        let mut tries = Self { every, seen: 0, tried: 0, passed: 0 };
        make(&mut tries);
        tries
    }

    /// A panic is wrong too.
    fn check(&mut self, what: impl Display, verdict: impl FnOnce() -> Verdict) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return;
        }
        self.tried += 1;
        let panicked = |_| Err("panicked".to_string());
        match catch_unwind(AssertUnwindSafe(verdict)).unwrap_or_else(panicked) {
            Ok(()) => self.passed += 1,
            Err(wrong) if self.tried - self.passed <= 20 => eprintln!("{what}: {wrong}"),
            Err(_) => {}
        }
    }
}

/// Random numbers, the same at every run.
struct Random(Generator);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Generator::new(seed))
    }

    fn below(&self, n: usize) -> usize {
        self.0.random() as usize % n
    }

    /// The bytes with one in `range` changed, and its place.
    fn flip(&self, bytes: &[u8], range: std::ops::Range<usize>) -> (Vec<u8>, usize) {
        let place = range.start + self.below(range.len());
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 + self.below(255) as u8;
        (flipped, place)
    }
}

/// Right if it is an error of one line that contains all `parts`.
fn refused<T, E: Display>(result: Result<T, E>, parts: &[&str]) -> Verdict {
    let Err(error) = result else { return Err("accepted".into()) };
    let message = error.to_string();
    if message.contains(char::is_control) {
        return Err(format!("control characters in {message:?}"));
    }
    match parts.iter().find(|part| !message.contains(**part)) {
        Some(part) => Err(format!("{part:?} is missing in {message:?}")),
        None => Ok(()),
    }
}

/// Writes a new file: ext4 flushes one that is overwritten, which takes seconds for thousands.
fn replace(path: &Path, bytes: &[u8]) {
    remove(path);
    fs::write(path, bytes).unwrap();
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
    }
}

/// Put in the place of a file.
const NO_FILES: [&str; 6] =
    ["nothing", "a folder", "a FIFO", "a device", "a link to nothing", "a link to itself"];

fn put_no_file(path: &Path, what: &str) {
    remove(path);
    let link = |target: &Path| std::os::unix::fs::symlink(target, path).unwrap();
    match what {
        "nothing" => {}
        "a folder" => fs::create_dir(path).unwrap(),
        "a FIFO" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "a device" => link(Path::new("/dev/zero")),
        "a link to nothing" => link(Path::new("nowhere")),
        "a link to itself" => link(path),
        what => panic!("{what}"),
    }
}

/// The program in 2 GiB of address space, of which libtorch alone takes 0.6. Asking for more aborts it.
fn limited(folder: &Path, arguments: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new("sh");
    command.args(["-c", "ulimit -v 2097152 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_islp-mnist")]);
    command.args(arguments.split_whitespace()).current_dir(folder);
    command.env("OMP_NUM_THREADS", "1").env_remove("ISLP_MNIST_DATA_DIR");
    command
}

fn gzipped(path: &Path) -> Vec<u8> {
    Command::new("gzip").arg("-c").arg(path).output().unwrap().stdout
}
