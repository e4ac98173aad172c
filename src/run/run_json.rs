//! `run.json`: what a run was and how it ended. It is enough to run it again.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Changed, End, Environment, Error, RunOptions, TrainOptions};
use crate::notebook::Fitted;
use crate::torchvision;
use crate::util::file;
use crate::util::json;
use crate::util::path::{from_text, to_text};

const FILE: &str = "run.json";
/// The command whose run.json says so; of `train` it says nothing.
const REPRODUCE: &str = "reproduce";
/// Hundreds of times as much as there is to say of a run.
const MAX_BYTES: u64 = 1 << 20;

/// Everything that a run's bits depend on, read and written by `train`.
///
/// ```
/// use islp_mnist::run::{Run, TrainOptions};
///
/// let run = Run::new(&TrainOptions::default(), "tests/data/fashion-mnist".as_ref())?;
/// assert_eq!(run.data.len(), 4);
/// # Ok::<(), islp_mnist::run::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The options, with the device and the threads that the run used.
    pub options: TrainOptions,
    /// SHA-256 of the four files of the data set, by name.
    pub data: BTreeMap<String, String>,
    /// The program and the machine.
    pub environment: Environment,
    /// When it began, UTC, as RFC 3339 has it.
    pub start: String,
}

/// The results of a run that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended; none if version 0.1 wrote this.
    pub end: Option<End>,
    /// Epochs finished.
    pub epochs: usize,
    /// Training steps taken.
    pub global_step: usize,
    /// Time from the start of the program to its end, in seconds; of a resumed run the sum over those that ended.
    pub duration_seconds: f64,
    /// The last value of every metric; none if it was not finite.
    pub metrics: BTreeMap<String, Option<f64>>,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunJson {
    /// What was run.
    #[serde(flatten)]
    pub run: Run,
    /// The absolute path of the data, a URL if it is not UTF-8; none if version 0.1 wrote this.
    pub data_dir: Option<String>,
    /// Which data set it is, `MNIST` or `other`; none if an older version wrote this.
    pub data_set: Option<String>,
    /// The results when it last ended by itself; none if it never did.
    pub outcome: Option<Outcome>,
}

impl Run {
    /// A run that begins now, on the data in `data_dir`.
    ///
    /// # Errors
    /// Data that can't be read.
    pub fn new(options: &TrainOptions, data_dir: &Path) -> Result<Self, Error> {
        let checksums = torchvision::checksums(data_dir)?.into_iter();
        Ok(Self {
            options: options.clone(),
            data: checksums.map(|(file, sha256)| (file.into(), sha256)).collect(),
            environment: Environment::current(),
            start: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        })
    }

    /// Makes sure that `now`, which resumes this run or repeats it, has the same data; what else has changed.
    ///
    /// # Errors
    /// Other data; the message names the file.
    pub fn check_same(&self, now: &Self, data_dir: &Path) -> Result<Vec<Changed>, Error> {
        for (file, sha256) in &now.data {
            if self.data.get(file) != Some(sha256) {
                return Err(Error::OtherData(torchvision::find(data_dir, file)?));
            }
        }
        Ok(self.environment.changed(&now.environment))
    }
}

impl RunJson {
    /// Describes a run that starts or resumes on the data in `data_dir`.
    pub fn new(run: Run, data_dir: &Path, outcome: Option<Outcome>) -> Self {
        let data_set = Some(data_set(&run.data).into());
        Self { run, data_dir: from_root(data_dir), data_set, outcome }
    }

    /// Reads a `run.json` of `train`, given its path or that of its folder.
    ///
    /// # Errors
    /// A file that can't be read, or is not the `run.json` of `train`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
        let bytes = file::read(&path, MAX_BYTES)?;
        let not_run_json = |reason| Error::NotRunJson { path: path.clone(), reason };
        let json: Value = json::parse(&bytes).map_err(|error| not_run_json(error.to_string()))?;
        if json["command"] == REPRODUCE {
            return Err(Error::OfReproduce(path));
        }
        serde_json::from_value(json).map_err(|error| not_run_json(error.to_string()))
    }

    /// Writes run.json into the run's folder.
    ///
    /// # Errors
    /// A folder that can't be written to.
    pub fn write(&self, log_dir: &Path) -> Result<(), Error> {
        write(log_dir, self)
    }

    /// Where the data lay.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.data_dir.as_deref().map(from_text)
    }
}

/// Writes run.json into the folder of one of the runs that `reproduce` has done, which began at `start`, on the data with
/// these checksums.
///
/// # Errors
/// A folder that can't be written to.
pub fn write_of_reproduce(
    fitted: &Fitted,
    options: &RunOptions,
    data: &BTreeMap<&'static str, String>,
    data_dir: &Path,
    start: SystemTime,
) -> Result<(), Error> {
    let run_json = serde_json::json!({
        "command": REPRODUCE,
        "options": options,
        "data": data,
        "environment": Environment::current(),
        "start": humantime::format_rfc3339_seconds(start).to_string(),
        "data_dir": from_root(data_dir),
        "data_set": data_set(data),
        "outcome": Outcome {
            end: Some(End::MaxEpochs),
            epochs: options.epochs,
            global_step: fitted.global_step,
            duration_seconds: fitted.duration.as_secs_f64(),
            metrics: fitted.metrics.clone(),
        },
    });
    write(&fitted.log_dir, &run_json)
}

fn write(log_dir: &Path, run_json: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(run_json).expect("a run goes into JSON");
    Ok(file::write(&log_dir.join(FILE), format!("{text}\n").as_bytes())?)
}

/// The name that `run.json` has for data with these checksums.
fn data_set<Name: Borrow<str> + Ord>(checksums: &BTreeMap<Name, String>) -> &'static str {
    if torchvision::differing(checksums).is_empty() { "MNIST" } else { "other" }
}

/// The absolute path.
fn from_root(path: &Path) -> Option<String> {
    absolute(path).ok().map(|path| to_text(&path))
}

/// Keeps a run's folder to this process for as long as it lives. The system releases it however the process ends.
pub enum Lock {
    /// No other process can have the folder.
    Held(File),
    /// The file system has no locks: Lustre, or NFS without its lock service.
    Unavailable(io::Error),
}

impl Lock {
    /// Locks a run's folder.
    ///
    /// # Errors
    /// Another process has it.
    pub fn of(log_dir: &Path) -> Result<Self, Error> {
        let folder = File::open(log_dir).map_err(TryLockError::Error);
        match folder.and_then(|folder| folder.try_lock().map(|()| folder)) {
            Ok(folder) => Ok(Self::Held(folder)),
            Err(TryLockError::WouldBlock) => Err(Error::Running(log_dir.to_path_buf())),
            Err(TryLockError::Error(error)) => Ok(Self::Unavailable(error)),
        }
    }
}
