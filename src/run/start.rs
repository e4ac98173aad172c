//! Where a run starts: anew, with the options of another run, or where that run stopped.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Error, Run, RunJson, TrainOptions};
use crate::lightning::Checkpoint;

/// The options that a resumed run may change: when it ends and what it saves, not what it computes.
const CHANGEABLE: [&str; 2] = ["epochs", "checkpoint_every"];

/// Where a run starts.
pub enum Start {
    /// Anew, with the defaults.
    New,
    /// Anew, with the options of another run.
    From(Box<RunJson>),
    /// Where that run stopped.
    Resume(Box<Earlier>),
}

impl Start {
    /// The run whose options, data and outcome this one takes over.
    pub fn run_json(&self) -> Option<&RunJson> {
        match self {
            Self::New => None,
            Self::From(run_json) => Some(run_json),
            Self::Resume(earlier) => Some(&earlier.run_json),
        }
    }

    /// The options of this run, unless others are given.
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
    /// Its `run.json`, or what its checkpoint tells of it.
    pub run_json: RunJson,
    /// Its last checkpoint; none if it stopped before its first one and therefore starts over.
    pub checkpoint: Option<Checkpoint>,
    /// Keeps the folder to this process.
    pub lock: Lock,
}

impl Earlier {
    /// Locks and reads a run's folder.
    ///
    /// # Errors
    /// A folder without a run of `train`, one in use, or damaged files.
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
        let (done, epochs) = (earlier.epochs_done(), earlier.run_json.run.options.run.epochs);
        if done > epochs {
            return Err(Error::Damaged { folder: folder(), done, epochs });
        }
        Ok(earlier)
    }

    /// Epochs finished at its last checkpoint.
    pub fn epochs_done(&self) -> usize {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.epoch + 1)
    }

    /// Checks that the run can be resumed with these options.
    ///
    /// # Errors
    /// An option that changes what the run computes, or too few epochs.
    pub fn check(&self, options: &TrainOptions) -> Result<(), Error> {
        let folder = self.log_dir.clone();
        if let Some((name, now, then)) = unchangeable(options, &self.run_json.run.options) {
            return Err(Error::Conflict { folder, name, now, then });
        }
        let (done, epochs) = (self.epochs_done(), options.run.epochs);
        if epochs < done {
            return Err(Error::FewerEpochs { folder, epochs, done });
        }
        Ok(())
    }
}

/// Keeps a run's folder to this process while it lives. The system releases it however the process ends.
pub enum Lock {
    /// No other process can take the folder.
    Held(File),
    /// The file system has no locks, such as Lustre, or NFS without its lock service.
    Unavailable(io::Error),
}

impl Lock {
    /// Locks a run's folder.
    ///
    /// # Errors
    /// Another process holds it.
    pub fn of(log_dir: &Path) -> Result<Self, Error> {
        let folder = File::open(log_dir).map_err(TryLockError::Error);
        match folder.and_then(|folder| folder.try_lock().map(|()| folder)) {
            Ok(folder) => Ok(Self::Held(folder)),
            Err(TryLockError::WouldBlock) => Err(Error::Running(log_dir.to_path_buf())),
            Err(TryLockError::Error(error)) => Ok(Self::Unavailable(error)),
        }
    }
}

/// The `run.json`, which is newer than the checkpoint if a resumed run has saved none yet; with the checkpoint's run if
/// the two describe different runs.
fn newer(run_json: Option<RunJson>, run: Run) -> RunJson {
    match run_json {
        Some(run_json) if unchangeable(&run_json.run.options, &run.options).is_none() => run_json,
        Some(run_json) => RunJson { run, ..run_json },
        None => RunJson { run, data_dir: None, data_set: None, outcome: None },
    }
}

/// The first option in which the two differ although it must not change: name, our value, theirs.
fn unchangeable(options: &TrainOptions, others: &TrainOptions) -> Option<(String, String, String)> {
    options.differences(others).into_iter().find(|(name, ..)| !CHANGEABLE.contains(&name.as_str()))
}
