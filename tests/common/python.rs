//! Scripts of the Python reference, in processes that have torch and Lightning imported already; and `train` on either
//! side, here or in Python.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::{Lab, command, names, python, words};

/// A script in a folder, in a process of its own.
pub fn python_in(folder: &Path, script: &str, options: &str) -> Command {
    let mut command = python(script);
    command.current_dir(folder).args(words(options)).env("OMP_NUM_THREADS", "1");
    command.env_remove("ISLP_MNIST_DATA_DIR");
    command
}

/// A line of Python that imports from scripts/.
pub fn python_line(folder: &Path, line: &str) -> Command {
    let scripts = super::checkout().join("scripts");
    let line = format!("import sys; sys.path.insert(0, {scripts:?}); {line}");
    let mut command = Command::new(super::checkout().join(".venv/bin/python"));
    command.args(["-I", "-B", "-X", "utf8", "-c", &line]).current_dir(folder);
    command
}

/// tests/trainings.py, which runs scripts.
struct Trainings {
    _child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

const TEMPORARY: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/python");

/// One run at a time: two would take far more than twice as long.
static TRAININGS: Mutex<Option<Trainings>> = Mutex::new(None);

impl Trainings {
    fn start() -> Self {
        let mut command = python_in(super::checkout(), "tests/trainings.py", "");
        fs::create_dir_all(TEMPORARY).unwrap();
        command.env("TMPDIR", TEMPORARY);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asked, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { _child: child, asked, answers }
    }
}

/// Exit code, stdout and stderr of a script.
pub fn run_python(folder: &Path, script: &str, options: &str) -> (i32, String, String) {
    let mut trainings = TRAININGS.lock().unwrap_or_else(PoisonError::into_inner);
    let Trainings { asked, answers, .. } = trainings.get_or_insert_with(Trainings::start);
    let line = [&[script, folder.to_str().unwrap()][..], &words(options)].concat();
    writeln!(asked, "{}", json!(line)).unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    let decompressed = names(TEMPORARY).into_iter().find(|name| name.starts_with("islp-mnist-"));
    assert_eq!(decompressed, None, "{script} {options} leaves it in {TEMPORARY}");
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Stdout and stderr of a script that must succeed.
pub fn python_output(folder: &Path, script: &str, options: &str) -> (String, String) {
    let (code, stdout, stderr) = run_python(folder, script, options);
    assert_eq!(code, 0, "{script} {options}: {stderr}");
    (stdout, stderr)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    Python,
    Rust,
}

pub const BOTH: [Side; 2] = [Side::Python, Side::Rust];

impl Side {
    pub fn other(self) -> Self {
        if self == Self::Rust { Self::Python } else { Self::Rust }
    }

    /// `train` in a process of its own.
    pub fn command(self, lab: &Lab, options: &str) -> Command {
        match self {
            Self::Rust => command(lab.path(), &format!("train {options}")),
            Self::Python => python_in(lab.path(), "scripts/train.py", options),
        }
    }

    pub fn run(self, lab: &Lab, options: &str) -> (i32, String, String) {
        if self == Self::Python {
            return run_python(lab.path(), "scripts/train.py", options);
        }
        let output = self.command(lab, options).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code().unwrap(), stdout, stderr)
    }

    /// A run to its end, without a warning. All that it prints is its folder.
    pub fn train(self, lab: &Lab, options: &str) -> String {
        let (code, stdout, stderr) = self.run(lab, options);
        assert_eq!(code, 0, "{self:?}, {options}: {stderr}");
        assert!(!stderr.contains("warning: "), "{self:?}, {options}: {stderr}");
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        stdout.trim_end().to_string()
    }

    /// Fails unless a run ends with this exit code, prints nothing and ends with an error line that contains `names`.
    pub fn assert_refused(self, lab: &Lab, options: &str, code: i32, names: &[&str]) {
        let (ended, stdout, stderr) = self.run(lab, options);
        assert_eq!((ended, stdout.as_str()), (code, ""), "{self:?}, {options}: {stderr}");
        let line = stderr.lines().last().unwrap_or_default();
        assert!(line.starts_with("error: ") && !line.contains(char::is_control), "{self:?}: {stderr:?}");
        assert!(!stderr.contains("Traceback") && !line.contains("[Errno"), "{stderr}");
        for name in names {
            assert!(line.contains(name), "{self:?}, {options}: {name:?} is not in {line}");
        }
    }
}
