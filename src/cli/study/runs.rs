//! The runs of a study: their folder, and the `train` processes that make them, several at a time.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::Device;
use tch::vision::dataset::Dataset;

use super::progress::Progress;
use crate::cli::hints::UsageError;
use crate::cli::options::flag;
use crate::cli::output::say;
use crate::cli::setup::Interrupt;
use islp_mnist::lightning::{LimitTrainBatches, evaluate_test};
use islp_mnist::notebook::weights;
use islp_mnist::run::{End, GeneratorOption, Outcome, Run, RunJson, RunOptions, TrainOptions, Vary};
use islp_mnist::study::{
    Key, Log, RUNS, Row, STUDY_CSV, STUDY_JSON, Varied, logs_in, newest_version, rows_in, to_csv,
};
use islp_mnist::util::text::{count, hex};
use islp_mnist::util::{file, json};

/// The row of a run, in its folder.
const RESULT: &str = "result.json";
/// The process that trains a run locks this file in the run's folder.
const LOCK: &str = "lock";
/// Over a hundred times the size of a result.json or study.json.
const MAX_BYTES: u64 = 1 << 20;
/// Interval between checks for ended processes.
const POLL: Duration = Duration::from_millis(20);
/// Interval between checks of runs that other processes train.
const WAIT: Duration = Duration::from_millis(500);
/// Over a hundred times the size of a model's weights.
const MAX_WEIGHTS: u64 = 1 << 30;
/// Larger than a run's messages.
const MAX_LOG: u64 = 1 << 20;
const LOG: &str = "log.txt";

/// Trains the runs of a study.
pub struct Pool<'a> {
    pub folder: &'a StudyFolder,
    pub settings: &'a Settings,
    /// The data, environment and start time that all runs share. Each run has its own options.
    pub run: &'a Run,
    pub data_dir: &'a Path,
    pub mnist: &'a Dataset,
    pub device: Device,
    pub jobs: usize,
    pub checkpoint_every: usize,
    pub interrupt: &'a Interrupt,
    /// Show a progress bar if stderr is a terminal.
    pub is_shown: bool,
}

/// A running process. It is killed when this value is dropped; the same command resumes its run.
struct Running {
    key: Key,
    child: Child,
    /// Locks the run, even if this process dies before the child, whose stdin is the same open file.
    _lock: File,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pool<'_> {
    /// Trains all runs that are missing, until they are done or a signal arrives.
    ///
    /// # Errors
    /// Fails if a folder can't be written to. A failed run is not an error, but a row.
    pub fn run(&self, keys: &[Key]) -> Result<()> {
        let mut progress = Progress::new(self.is_shown, keys.len());
        let (mut waiting, mut taken) = (VecDeque::from(keys.to_vec()), VecDeque::new());
        let mut last_check = Instant::now();
        let mut running: Vec<Running> = vec![];
        loop {
            if self.interrupt.should_stop.load(Ordering::Relaxed) {
                progress.finish();
                return Ok(());
            }
            let mut ended = None;
            for (place, run) in running.iter_mut().enumerate() {
                if run.child.try_wait().context("cannot wait for a run")?.is_some() {
                    ended = Some(place);
                    break;
                }
            }
            if let Some(place) = ended {
                let Running { key, child, .. } = &mut running[place];
                let status = child.wait().context("cannot wait for a run")?;
                let row = self.result(*key, &format!("it ended with {status}"));
                self.finish(*key, &row)?;
                running.swap_remove(place);
                progress.end(&row);
            } else if running.len() < self.jobs && !waiting.is_empty() {
                let Some(key) = waiting.pop_front() else { continue };
                match self.folder.state(key)? {
                    State::Done => progress.skip(),
                    State::Taken => taken.push_back(key),
                    State::Free(lock) => match self.trained(key) {
                        // The process that trained it died before writing the row.
                        Some(row) => {
                            self.finish(key, &row)?;
                            progress.end(&row);
                        }
                        None => running.push(self.start(key, lock)?),
                    },
                }
            } else if running.is_empty() && taken.is_empty() {
                progress.finish();
                return Ok(());
            } else if !taken.is_empty() && last_check.elapsed() > WAIT {
                // If the process that has them dies, they can be locked here.
                waiting.append(&mut taken);
                last_check = Instant::now();
            } else {
                sleep(POLL);
            }
        }
    }

    /// Starts or resumes a run.
    fn start(&self, key: Key, lock: File) -> Result<Running> {
        let folder = self.folder.of(key);
        let log_path = folder.join(LOG);
        let log = File::create(&log_path).map_err(file::Error::io("write", &log_path))?;
        // This very program, even if its file has been replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        // "=" is needed because a path may begin with "-".
        let option = |name: &str, path: &Path| [name.as_ref(), path.as_os_str()].join("=".as_ref());
        command.args(["train", "--quiet"]).arg(option("--data-dir", self.data_dir));
        match newest_version(&folder) {
            Some(version) => command.arg(option("--resume", &version)),
            None => {
                let options = self.settings.of(key, self.checkpoint_every);
                RunJson::new(Run { options, ..self.run.clone() }, self.data_dir, None).write(&folder)?;
                // `train` creates the run's folder in it, by the name in the options.
                let output_dir = option("--output-dir", folder.parent().unwrap_or(&folder));
                command.arg(option("--from", &folder)).arg(output_dir)
            }
        };
        let threads = self.settings.run.threads.unwrap_or(1);
        // Otherwise libtorch starts a thread per core before --threads is parsed.
        command.env("OMP_NUM_THREADS", threads.to_string());
        let stdin = lock.try_clone().context("cannot pass on a lock")?;
        command.stdin(stdin).stdout(Stdio::null()).stderr(log);
        Ok(Running { key, child: command.spawn().context("cannot start a run")?, _lock: lock })
    }

    /// Writes a run's row to disk, then removes the run's checkpoints, unless it failed.
    fn finish(&self, key: Key, row: &Row) -> Result<()> {
        self.folder.write_result(key, row)?;
        if !row.is_failed()
            && let Some(version) = newest_version(&self.folder.of(key))
        {
            let _ = fs::remove_dir_all(version.join("checkpoints"));
        }
        Ok(())
    }

    /// Returns the row of a run that ended.
    fn trained(&self, key: Key) -> Option<Row> {
        let version = newest_version(&self.folder.of(key))?;
        let outcome = RunJson::read(&version).ok()?.outcome?;
        self.row(key, &version, &outcome).ok()
    }

    /// Returns the row of a run whose process has ended, a failed one if the run has not.
    fn result(&self, key: Key, ended: &str) -> Row {
        self.trained(key).unwrap_or_else(|| {
            let log = self.folder.of(key).join(LOG);
            let messages = file::read(&log, MAX_LOG).unwrap_or_default();
            let messages = String::from_utf8_lossy(&messages);
            let reason = messages.lines().rev().find_map(|line| line.strip_prefix("error: "));
            Row::failed(key, reason.map_or_else(|| format!("{ended}, see {}", log.display()), str::to_string))
        })
    }

    fn row(&self, key: Key, version: &Path, outcome: &Outcome) -> Result<Row> {
        let Some(end @ (End::MaxEpochs | End::Diverged)) = outcome.end.clone() else {
            bail!("it did not end");
        };
        let metric = |name: &str| outcome.metrics.get(name).copied().flatten();
        let mut row = Row {
            epochs: outcome.epochs,
            seconds: Some(outcome.duration_seconds),
            valid_accuracy: metric("valid_accuracy"),
            valid_loss: metric("valid_loss"),
            end,
            ..Row::failed(key, String::new())
        };
        if row.end == End::MaxEpochs {
            let path = version.join(weights::FILE);
            let module = weights::load(&path, self.device)?;
            let batch_size = self.settings.run.batch_size;
            let test = evaluate_test(&module, self.mnist, batch_size)?.compute(&module)?;
            row.test_accuracy = Some(test.accuracy.into());
            row.test_loss = Some(test.loss.into());
            row.weights_sha256 = Some(hex(&Sha256::digest(file::read(&path, MAX_WEIGHTS)?)));
        }
        Ok(row)
    }
}

/// The options of all runs of a study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    #[serde(flatten)]
    pub run: RunOptions,
    pub limit_train_batches: Option<LimitTrainBatches>,
}

impl Settings {
    /// The options of a run.
    pub fn of(&self, key: Key, checkpoint_every: usize) -> TrainOptions {
        let mut run = self.run.clone();
        let vary = match key.varied {
            Varied::Seed | Varied::Run => None,
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
            checkpoint_every_n_steps: None,
            name,
        }
    }

    /// Returns the first option that differs: name, our value, theirs.
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
pub struct StudyFolder {
    path: PathBuf,
    /// Runs made elsewhere; none where they are not looked for, because it is a training that uses the folder.
    logs: Option<Vec<Log>>,
}

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
    /// Opens the folder of a study, with or without its runs, or a folder of Lightning logs.
    ///
    /// # Errors
    /// Fails if the folder is neither.
    pub fn open(path: &Path) -> Result<Self> {
        let is_study = path.join(RUNS).is_dir() || path.join(STUDY_CSV).exists();
        let logs = if path.is_dir() { foreign_logs(path)? } else { vec![] };
        ensure!(
            is_study || !logs.is_empty(),
            "{}: not the folder of a study, it contains neither {RUNS}/ nor {STUDY_CSV} nor Lightning's folders with a \
             metrics.csv; name the --output-dir of a study, or the save_dir of a CSVLogger",
            path.display()
        );
        Ok(Self { path: path.to_owned(), logs: Some(logs) })
    }

    /// Creates or reopens a study's folder.
    ///
    /// # Errors
    /// Fails if the folder's study has other options, or can't be read or written.
    pub fn create(path: &Path, settings: &Settings) -> Result<Self> {
        let cannot_make =
            || format!("cannot write to the folder {}; choose another with --output-dir", path.display());
        fs::create_dir_all(path.join(RUNS)).with_context(cannot_make)?;
        let study_json = path.join(STUDY_JSON);
        match file::read(&study_json, MAX_BYTES) {
            Ok(bytes) => {
                let theirs: Settings = json::parse(&bytes).with_context(|| {
                    format!(
                        "{}: not the {STUDY_JSON} of a study; choose another --output-dir",
                        study_json.display()
                    )
                })?;
                if let Some((name, now, then)) = settings.difference(&theirs) {
                    bail!(UsageError(format!(
                        "{} {now} conflicts with the study in {}, whose runs use {then}; choose another --output-dir",
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
        Ok(Self { path: path.to_owned(), logs: None })
    }

    /// Warns if the file system has no locks, as Lustre or NFS may not.
    ///
    /// # Errors
    /// Fails if the folder can't be written to.
    pub fn warn_without_locks(&self) -> Result<()> {
        if let Err(TryLockError::Error(error)) = open_lock(&self.path.join(RUNS))?.try_lock() {
            say(&format!(
                "warning: {}: cannot be locked here ({error}), so two commands may train the same run; \
                 start one at a time",
                self.path.display()
            ));
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a run.
    pub fn of(&self, key: Key) -> PathBuf {
        self.path.join(key.folder())
    }

    /// Locks a run, unless it is done or taken.
    ///
    /// # Errors
    /// Fails if a folder can't be written to.
    pub fn state(&self, key: Key) -> Result<State> {
        let folder = self.of(key);
        fs::create_dir_all(&folder).map_err(file::Error::io("make", &folder))?;
        let lock = open_lock(&folder)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(State::Taken),
            _ if self.is_done(key)? => Ok(State::Done),
            // Either locked, or there are no locks: see `warn_without_locks`.
            _ => Ok(State::Free(lock)),
        }
    }

    fn is_done(&self, key: Key) -> Result<bool> {
        Ok(self.result(&self.of(key))?.is_some_and(|row| !row.is_failed()))
    }

    fn result(&self, folder: &Path) -> Result<Option<Row>> {
        let path = folder.join(RESULT);
        match file::read(&path, MAX_BYTES) {
            // If it is damaged, the run's row is written again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a run's row to disk.
    ///
    /// # Errors
    /// Fails if the disk is full.
    pub fn write_result(&self, key: Key, row: &Row) -> Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(row)?);
        Ok(file::write(&self.of(key).join(RESULT), text.as_bytes())?)
    }

    /// The rows of the runs that are done.
    fn results(&self) -> Result<Vec<Row>> {
        let mut rows = vec![];
        for model in subfolders(&self.path.join(RUNS))? {
            for run in subfolders(&model)? {
                rows.extend(self.result(&run)?);
            }
        }
        Ok(rows)
    }

    /// Writes study.csv with the rows so far, and returns them.
    ///
    /// # Errors
    /// Fails if a file can't be read, study.csv is not a study's, or the disk is full.
    pub fn write_csv(&self) -> Result<Vec<Row>> {
        let runs = self.path.join(RUNS);
        let logs = self.logs.as_deref().unwrap_or_default();
        if !runs.is_dir() && logs.is_empty() {
            return Ok(rows_in(&self.path)?);
        }
        // Another command may be writing it.
        let lock = runs.is_dir().then(|| open_lock(&runs)).transpose()?;
        let _ = lock.as_ref().map(File::lock);
        let mut rows = if runs.is_dir() { self.results()? } else { vec![] };
        rows.extend(rows_of(logs)?);
        // Keeps the rows of runs whose folders are gone.
        if self.path.join(STUDY_CSV).exists() {
            let mut before = rows_in(&self.path)?;
            let is_same = |a: &Row, b: &Row| (&a.model, a.varied, a.seed) == (&b.model, b.varied, b.seed);
            // Of logs there are no more rows than folders.
            let is_gone = |row: &Row| row.varied == Varied::Run && self.logs.is_some();
            before.retain(|row| !is_gone(row) && rows.iter().all(|newer| !is_same(newer, row)));
            rows.append(&mut before);
        }
        ensure!(!rows.is_empty(), "{}: no run there has ended", self.path.display());
        let csv = to_csv(&mut rows)?;
        file::write(&self.path.join(STUDY_CSV), &csv)?;
        Ok(rows)
    }
}

/// The logs of runs made elsewhere; the study's own are in runs/MODEL/SOURCE=SEED.
fn foreign_logs(folder: &Path) -> Result<Vec<Log>> {
    let own = format!("{RUNS}/");
    Ok(logs_in(folder)?.into_iter().filter(|log| !log.name.starts_with(&own)).collect())
}

/// The rows of runs made elsewhere. Warns of those that have none.
///
/// # Errors
/// Fails if none has a row.
fn rows_of(logs: &[Log]) -> Result<Vec<Row>> {
    let (mut rows, mut reasons) = (vec![], vec![]);
    for log in logs {
        match log.row() {
            Ok(row) => rows.push(row),
            Err(reason) => reasons.push(reason),
        }
    }
    if let Some(first) = reasons.first() {
        let hint = "Trainer.test logs a test accuracy as test_accuracy or test_acc";
        ensure!(!rows.is_empty(), "{first}; no run there can be used: {hint}");
        say(&format!("warning: {first}; {} left out", count(reasons.len(), "run")));
    }
    Ok(rows)
}

/// Opens or creates the lock file of a folder.
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
