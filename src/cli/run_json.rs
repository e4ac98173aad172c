//! `run.json`: what a run was and what it came to. Enough to run it again. The file is longer than others so that what is
//! written of a run, read and held against another stands in one place.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf, absolute};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::data_set;
use crate::cli::options::{RunOptions, TrainOptions};
use crate::cli::output::say;
use islp_mnist::notebook::Fitted;
use islp_mnist::torch::libtorch;
use islp_mnist::torchvision;
use islp_mnist::util::file;
use islp_mnist::util::json;
use islp_mnist::util::path::{from_text, to_text};

const FILE: &str = "run.json";
/// The command whose run.json says so; of `train` it says nothing.
const REPRODUCE: &str = "reproduce";
/// Hundreds of times as much as there is to say of a run.
const LARGEST: u64 = 1 << 20;

/// Everything that a run's bits depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The options; of device and threads what the run took where none was asked for.
    pub options: TrainOptions,
    /// SHA-256 of the four files of the data set, by name.
    pub data: BTreeMap<String, String>,
    /// What did it, and on what.
    pub environment: Environment,
    /// When it began, UTC, as RFC 3339 has it.
    pub start: String,
}

/// The program and the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's name; none if the system does not say, or an older version wrote this.
    pub processor: Option<String>,
    /// libtorch's kernels for this processor, as `torch.backends.cpu.get_cpu_capability()`.
    pub cpu_capability: String,
    /// The version of libtorch; none if it does not say.
    pub libtorch: Option<String>,
    /// The version of tch; none if it was Python, by scripts/train.py.
    pub tch: Option<String>,
    /// The version of this crate.
    pub islp_mnist: String,
    /// The commit it was built from, with "-modified" where the sources were not that commit's; none outside git.
    pub git_commit: Option<String>,
}

/// How a run ended when it last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It did all its epochs.
    MaxEpochs,
    /// Its time was over.
    MaxTime,
    /// A signal came.
    Interrupted,
    /// The loss was no finite number any more.
    Diverged,
}

/// What a run came to.
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
    /// Where the data lay, from the root, as [`to_text`] has it; none if version 0.1 wrote this.
    pub data_dir: Option<String>,
    /// Which data set it is, as [`data_set::name`] has it; none if an older version wrote this.
    pub data_set: Option<String>,
    /// What it came to when it last ended by itself; none if it never did.
    pub outcome: Option<Outcome>,
}

/// What was otherwise when a run began, and may change the last digits of what it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    what: &'static str,
    then: Option<String>,
    now: Option<String>,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let [then, now] = [&self.then, &self.now].map(|value| value.as_deref().unwrap_or("unknown"));
        write!(f, "{} was {then} and is {now}; the results may differ in their last digits", self.what)
    }
}

impl Environment {
    /// Of this process.
    pub fn current() -> Self {
        Self {
            processor: libtorch::processor(),
            cpu_capability: libtorch::cpu_capability().into(),
            libtorch: libtorch::version().ok(),
            tch: Some(env!("TCH_VERSION").into()),
            islp_mnist: env!("CARGO_PKG_VERSION").into(),
            git_commit: option_env!("GIT_COMMIT").map(String::from),
        }
    }
}

impl Run {
    /// A run that begins now, on the data in `data_dir`.
    ///
    /// # Errors
    /// Data that can't be read.
    pub fn new(options: &TrainOptions, data_dir: &Path) -> Result<Self> {
        let checksums = torchvision::checksums(data_dir)?.into_iter();
        Ok(Self {
            options: options.clone(),
            data: checksums.map(|(file, sha256)| (file.into(), sha256)).collect(),
            environment: Environment::current(),
            start: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        })
    }

    /// Makes sure that `now`, which goes on with this run or repeats it, is on the same data; and what else differs.
    ///
    /// # Errors
    /// Other data; the message names the file.
    pub fn check_same(&self, now: &Self, data_dir: &Path) -> Result<Vec<Changed>> {
        for (file, sha256) in &now.data {
            ensure!(
                self.data.get(file) == Some(sha256),
                "{}: not the file that the run was trained on; --data-dir names another folder",
                torchvision::find(data_dir, file)?.display()
            );
        }
        let (then, now) = (&self.environment, &now.environment);
        let capability = |environment: &Environment| Some(environment.cpu_capability.clone());
        let pairs = [
            ("CPU capability", capability(then), capability(now)),
            ("libtorch", then.libtorch.clone(), now.libtorch.clone()),
        ];
        let changed = pairs.into_iter().filter(|(_, then, now)| then != now);
        Ok(changed.map(|(what, then, now)| Changed { what, then, now }).collect())
    }
}

impl RunJson {
    /// Of a run that begins or goes on, on the data in `data_dir`.
    pub fn new(run: Run, data_dir: &Path, outcome: Option<Outcome>) -> Self {
        let data_set = Some(data_set::name(&run.data).into());
        Self { run, data_dir: from_root(data_dir), data_set, outcome }
    }

    /// Reads a run.json, by its path or that of its folder.
    ///
    /// # Errors
    /// What is no run.json. The message names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
        let bytes = file::read(&path, LARGEST)?;
        let not_a_run = || format!("{}: not the run.json of a run", path.display());
        let json: Value = json::parse(&bytes).with_context(not_a_run)?;
        ensure!(
            json["command"] != REPRODUCE,
            "{}: of a run of `reproduce`, where both models draw from one generator; run that again, or start a new run \
             with `train`",
            path.display()
        );
        json::parse(&bytes).with_context(not_a_run)
    }

    /// Writes run.json into the run's folder.
    ///
    /// # Errors
    /// A folder that can't be written to.
    pub fn write(&self, log_dir: &Path) -> Result<()> {
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
) -> Result<()> {
    let run_json = serde_json::json!({
        "command": REPRODUCE,
        "options": options,
        "data": data,
        "environment": Environment::current(),
        "start": humantime::format_rfc3339_seconds(start).to_string(),
        "data_dir": from_root(data_dir),
        "data_set": data_set::name(data),
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

fn write(log_dir: &Path, run_json: &impl Serialize) -> Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(run_json)?);
    Ok(file::write(&log_dir.join(FILE), text.as_bytes())?)
}

/// A path from the root.
fn from_root(path: &Path) -> Option<String> {
    absolute(path).ok().map(|path| to_text(&path))
}

/// Keeps a run's folder to this process for as long as the file is open; the lock goes with the process, however it
/// ends. Nothing, and a warning, where the file system has no locks.
///
/// # Errors
/// Another process has the folder.
pub fn lock(log_dir: &Path) -> Result<Option<File>> {
    let folder = File::open(log_dir).map_err(TryLockError::Error);
    match folder.and_then(|folder| folder.try_lock().map(|()| folder)) {
        Ok(folder) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: this run is still going; wait for its end, or stop it", log_dir.display())
        }
        // Lustre, and NFS without its lock service.
        Err(TryLockError::Error(error)) => {
            say(&format!(
                "warning: {}: it can't be locked here ({error}), so nothing keeps a second process from this run; start none",
                log_dir.display()
            ));
            Ok(None)
        }
    }
}
