//! Everything the program reads, damaged in every way that came to mind: each damage is refused in one line that says
//! where it is, or accepted only where what it leaves is valid. A sample of the tries is made at every run, all of them
//! by the slow tests, which count them for docs/robustness.md.

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

/// Whether a try came out as it should, or what went wrong.
type Verdict = Result<(), String>;

/// Makes the tries of one kind, and counts them.
struct Tries {
    every: usize,
    seen: usize,
    tried: usize,
    held: usize,
}

impl Tries {
    /// Of the tries only every so many.
    fn sample(every: usize) -> Self {
        // The tests run at the same time.
        tch::set_num_threads(1);
        Self { every, seen: 0, tried: 0, held: 0 }
    }

    fn all() -> Self {
        Self::sample(1)
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
            Ok(()) => self.held += 1,
            // The first few will do.
            Err(wrong) if self.tried - self.held <= 20 => eprintln!("{what}: {wrong}"),
            Err(_) => {}
        }
    }

    /// Of a sample.
    fn end(self) {
        assert!(self.tried >= 50, "only {} tries are no sample", self.tried);
        assert_eq!(self.held, self.tried, "see above");
    }

    /// Of all tries of this kind.
    fn tally(self, kind: &str) {
        crate::common::tally(kind, self.tried, self.held);
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

    /// The bytes with one of those in `range` changed, and which.
    fn flip(&self, bytes: &[u8], range: std::ops::Range<usize>) -> (Vec<u8>, usize) {
        let place = range.start + self.below(range.len());
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 + self.below(255) as u8;
        (flipped, place)
    }
}

/// Right if it is an error of one line that says all `parts`.
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

/// Puts a new file there: ext4 flushes a file that is overwritten, which takes seconds for thousands.
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

/// What is no file, put in a file's place one after the other.
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

/// The program in 2 GiB of address space, of which libtorch alone takes 0.6. Who asks for more is aborted.
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
