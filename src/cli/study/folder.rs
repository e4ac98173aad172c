//! A study's folder: the options that its runs share, who trains each run, and its results.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cli::hints::UsageError;
use crate::cli::options::flag;
use crate::cli::output::say;
use islp_mnist::lightning::LimitTrainBatches;
use islp_mnist::run::{GeneratorOption, RunOptions, TrainOptions, Vary};
use islp_mnist::study::{Key, RUNS, Row, STUDY_CSV, STUDY_JSON, Varied, rows_in, to_csv};
use islp_mnist::util::file;
use islp_mnist::util::json;

/// The row of a run, in its folder.
const RESULT: &str = "result.json";
/// Whoever trains a run has this file of its folder locked.
const LOCK: &str = "lock";
/// Hundreds of times as much as there is to say of a run.
const MAX_BYTES: u64 = 1 << 20;

/// The options of all runs of a study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    #[serde(flatten)]
    pub run: RunOptions,
    pub limit_train_batches: Option<LimitTrainBatches>,
}

impl Settings {
    /// The options of one of the runs.
    pub fn of(&self, key: Key, checkpoint_every: usize) -> TrainOptions {
        let mut run = self.run.clone();
        let vary = match key.varied {
            Varied::Seed => None,
            Varied::Source(source) => Some(Vary { source, seed: key.seed }),
        };
        if vary.is_none() {
            run.seed = key.seed;
        }
        if !key.model.has_dropout() {
            run.generator = GeneratorOption::Auto;
        }
        let (model, name) = (key.model, Some(key.name()));
        TrainOptions {
            model,
            run,
            limit_train_batches: self.limit_train_batches,
            vary,
            checkpoint_every,
            name,
        }
    }

    /// The first option in which the two differ: name, our value, theirs.
    fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let [ours, theirs] = [self, other].map(|settings| TrainOptions {
            run: settings.run.clone(),
            limit_train_batches: settings.limit_train_batches,
            ..TrainOptions::default()
        });
        ours.differences(&theirs).into_iter().next()
    }
}

/// The folder of a study.
pub struct StudyFolder(PathBuf);

/// The state of a run.
pub enum State {
    /// Done.
    Done,
    /// Another process trains it.
    Taken,
    /// Ours while the file is open, here or in a process that inherited it.
    Free(File),
}

impl StudyFolder {
    /// The folder of a study that is there, or of one whose runs are gone.
    ///
    /// # Errors
    /// None of a study.
    pub fn open(path: &Path) -> Result<Self> {
        ensure!(
            path.join(RUNS).is_dir() || path.join(STUDY_CSV).exists(),
            "{}: not the folder of a study, it holds neither {RUNS}/ nor {STUDY_CSV}; name the --output-dir of one",
            path.display()
        );
        Ok(Self(path.to_owned()))
    }

    /// Creates or reopens a study's folder.
    ///
    /// # Errors
    /// A study of other options.
    pub fn create(path: &Path, settings: &Settings) -> Result<Self> {
        let cannot_make =
            || format!("cannot write to the folder {}; --output-dir names another", path.display());
        fs::create_dir_all(path.join(RUNS)).with_context(cannot_make)?;
        let study_json = path.join(STUDY_JSON);
        match file::read(&study_json, MAX_BYTES) {
            Ok(bytes) => {
                let theirs: Settings = json::parse(&bytes).with_context(|| {
                    format!("{}: not that of a study; name another --output-dir", study_json.display())
                })?;
                if let Some((name, now, then)) = settings.difference(&theirs) {
                    bail!(UsageError(format!(
                        "{} {now} conflicts with the study in {}, whose runs have {then}; --output-dir names another",
                        flag(&name),
                        path.display(),
                    )));
                }
            }
            Err(error) if error.is_not_found() => {
                file::write(
                    &study_json,
                    format!("{}\n", serde_json::to_string_pretty(settings)?).as_bytes(),
                )?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self(path.to_owned()))
    }

    /// Says which promise is lost where the file system has no locks, as Lustre and NFS may have none.
    ///
    /// # Errors
    /// A folder that can't be written to.
    pub fn warn_without_locks(&self) -> Result<()> {
        if let Err(TryLockError::Error(error)) = open_lock(&self.0.join(RUNS))?.try_lock() {
            say(&format!(
                "warning: {}: cannot be locked here ({error}), so two commands may train the same run; \
                 start one at a time",
                self.0.display()
            ));
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of a run.
    pub fn of(&self, key: Key) -> PathBuf {
        self.0.join(key.folder())
    }

    /// Locks a run, unless it is done or taken.
    ///
    /// # Errors
    /// A folder that can't be written to.
    pub fn state(&self, key: Key) -> Result<State> {
        let folder = self.of(key);
        fs::create_dir_all(&folder).map_err(file::Error::io("make", &folder))?;
        let lock = open_lock(&folder)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(State::Taken),
            _ if self.is_done(key)? => Ok(State::Done),
            // Also without locks, see `warn_without_locks`.
            _ => Ok(State::Free(lock)),
        }
    }

    fn is_done(&self, key: Key) -> Result<bool> {
        Ok(self.result(&self.of(key))?.is_some_and(|row| !row.is_failed()))
    }

    fn result(&self, folder: &Path) -> Result<Option<Row>> {
        let path = folder.join(RESULT);
        match file::read(&path, MAX_BYTES) {
            // A damaged one is made anew.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a run's row to disk.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn write_result(&self, row: &Row) -> Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(row)?);
        Ok(file::write(&self.of(row.key()).join(RESULT), text.as_bytes())?)
    }

    /// Writes study.csv with the rows so far, and returns them.
    ///
    /// # Errors
    /// Files that can't be read, a study.csv that is something else, or a disk that is full.
    pub fn write_csv(&self) -> Result<Vec<Row>> {
        let runs = self.0.join(RUNS);
        if !runs.is_dir() {
            return Ok(rows_in(&self.0)?);
        }
        // Another study in this folder may be at it.
        let lock = open_lock(&runs)?;
        let _ = lock.lock();
        let mut rows = vec![];
        for model in subfolders(&runs)? {
            for run in subfolders(&model)? {
                rows.extend(self.result(&run)?);
            }
        }
        // Of runs whose folders are gone the rows stay.
        if self.0.join(STUDY_CSV).exists() {
            let mut before = rows_in(&self.0)?;
            before.retain(|row| rows.iter().all(|newer| newer.key() != row.key()));
            rows.append(&mut before);
        }
        let csv = to_csv(&mut rows)?;
        file::write(&self.0.join(STUDY_CSV), &csv)?;
        Ok(rows)
    }
}

/// The file of a folder that is to be locked, which is made if there is none.
fn open_lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    Ok(lock.map_err(file::Error::io("open", &path))?)
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || file::Error::io("list", folder);
    let mut folders = vec![];
    for entry in fs::read_dir(folder).map_err(list())? {
        let path = entry.map_err(list())?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}
