//! The start of a run: new, new with the options of another run, or resumed where that run stopped.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Error, Run, RunJson, TrainOptions};
use crate::lightning::Checkpoint;

/// The options that a resumed run may change: when it ends and what it saves, not what it computes.
const CHANGEABLE: [&str; 3] = ["epochs", "checkpoint_every", "checkpoint_every_n_steps"];

/// The start of a run.
pub enum Start {
    /// A new run with the defaults.
    New,
    /// A new run with the options of another run.
    From(Box<RunJson>),
    /// A run that is resumed where it stopped.
    Resume(Box<Earlier>),
}

impl Start {
    /// The `run.json` of the run that this one repeats or resumes.
    pub fn run_json(&self) -> Option<&RunJson> {
        match self {
            Self::New => None,
            Self::From(run_json) => Some(run_json),
            Self::Resume(earlier) => Some(&earlier.run_json),
        }
    }

    /// The options that apply unless others are given.
    pub fn options(&self) -> TrainOptions {
        self.run_json().map(|run_json| run_json.run.options.clone()).unwrap_or_default()
    }

    /// The run that is resumed.
    pub fn resumed(&self) -> Option<&Earlier> {
        match self {
            Self::Resume(earlier) => Some(earlier),
            _ => None,
        }
    }
}

/// The run that is resumed.
pub struct Earlier {
    /// Its folder.
    pub log_dir: PathBuf,
    /// Its `run.json`, or the part of it that its checkpoint contains.
    pub run_json: RunJson,
    /// Its last checkpoint; none if it stopped before the first one, and so starts over.
    pub checkpoint: Option<Checkpoint>,
    /// Keeps other processes from the folder.
    pub lock: Lock,
}

impl Earlier {
    /// Locks and reads a run's folder.
    ///
    /// # Errors
    /// Fails if the folder has no run of `train`, another process uses it, or a file is damaged.
    pub fn read(log_dir: &Path) -> Result<Self, Error> {
        let folder = || log_dir.to_path_buf();
        if !log_dir.is_dir() {
            return Err(Error::NoFolder(folder()));
        }
        let lock = Lock::of(log_dir)?;
        let checkpoint = Checkpoint::last(log_dir)?;
        let run_json = match &checkpoint {
            None => RunJson::read(log_dir)
                .map_err(|reason| Error::NoCheckpoint { folder: folder(), reason: Box::new(reason) })?,
            Some(checkpoint) => {
                let run: Run = serde_json::from_str(checkpoint.hyper_parameters.get()).map_err(|reason| {
                    Error::OtherCheckpoint { folder: folder(), reason: reason.to_string() }
                })?;
                newer(RunJson::read(log_dir).ok(), run)
            }
        };
        let earlier = Self { log_dir: folder(), run_json, checkpoint, lock };
        let (begun, epochs) = (earlier.epochs_begun(), earlier.run_json.run.options.run.epochs);
        if begun > epochs {
            return Err(Error::Damaged { folder: folder(), begun, epochs });
        }
        Ok(earlier)
    }

    /// Epochs begun before its last checkpoint.
    fn epochs_begun(&self) -> usize {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.epoch + 1)
    }

    /// Checks that the run can be resumed with these options.
    ///
    /// # Errors
    /// Fails if an option changes what the run computes, or it has begun more epochs than requested.
    pub fn check(&self, options: &TrainOptions) -> Result<(), Error> {
        let folder = self.log_dir.clone();
        if let Some((name, now, then)) = unchangeable(options, &self.run_json.run.options) {
            return Err(Error::Conflict { folder, name, now, then });
        }
        let (begun, epochs) = (self.epochs_begun(), options.run.epochs);
        if epochs < begun {
            return Err(Error::FewerEpochs { folder, epochs, begun });
        }
        Ok(())
    }
}

/// Keeps other processes from a run's folder until it is dropped. The system releases it however the process ends.
pub enum Lock {
    /// No other process can lock the folder.
    Held(File),
    /// The file system has no locks, such as Lustre, or NFS without its lock service.
    Unavailable(io::Error),
}

impl Lock {
    /// Locks a run's folder.
    ///
    /// # Errors
    /// Fails if another process has locked it.
    pub fn of(log_dir: &Path) -> Result<Self, Error> {
        let folder = File::open(log_dir).map_err(TryLockError::Error);
        match folder.and_then(|folder| folder.try_lock().map(|()| folder)) {
            Ok(folder) => Ok(Self::Held(folder)),
            Err(TryLockError::WouldBlock) => Err(Error::Running(log_dir.to_path_buf())),
            Err(TryLockError::Error(error)) => Ok(Self::Unavailable(error)),
        }
    }
}

/// Returns the `run.json`, because it is newer than the checkpoint if a resumed run has not saved one yet. If the two
/// describe different runs, its `run` is replaced by the checkpoint's.
fn newer(run_json: Option<RunJson>, run: Run) -> RunJson {
    match run_json {
        Some(run_json) if unchangeable(&run_json.run.options, &run.options).is_none() => run_json,
        Some(run_json) => RunJson { run, ..run_json },
        None => RunJson { run, data_dir: None, data_set: None, outcome: None },
    }
}

/// Returns the first option that differs although it must not change: name, our value, theirs.
fn unchangeable(options: &TrainOptions, others: &TrainOptions) -> Option<(String, String, String)> {
    options.differences(others).into_iter().find(|(name, ..)| !CHANGEABLE.contains(&name.as_str()))
}
