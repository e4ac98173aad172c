//! `run.json`: what a run was and what it came to. Enough to run it again.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::options::TrainOptions;
use crate::{banner, file, libtorch, mnist};

const FILE: &str = "run.json";
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
    /// libtorch's kernels for this processor, as `torch.backends.cpu.get_cpu_capability()`.
    pub cpu_capability: String,
    /// The version of libtorch; none if it does not say.
    pub libtorch: Option<String>,
    /// The version of tch.
    pub tch: String,
    /// The version of this crate.
    pub islp_mnist: String,
    /// The commit it was built from, with "-modified" where the sources were not that commit's; none outside git.
    pub git_commit: Option<String>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
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
pub struct Record {
    /// What was run.
    #[serde(flatten)]
    pub run: Run,
    /// What it came to when it last ended by itself; none if it never did.
    pub outcome: Option<Outcome>,
}

impl Environment {
    /// Of this process.
    pub fn current() -> Self {
        Self {
            cpu_capability: libtorch::cpu_capability().into(),
            libtorch: libtorch::version().ok(),
            tch: env!("TCH_VERSION").into(),
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
        Ok(Self {
            options: options.clone(),
            data: mnist::checksums(data_dir)?
                .into_iter()
                .map(|(file, sha256)| (file.into(), sha256))
                .collect(),
            environment: Environment::current(),
            start: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        })
    }

    /// Makes sure that `now`, which goes on with this run or repeats it, comes to the same bits.
    ///
    /// # Errors
    /// Other data; the message names the file. What else differs, other kernels or another libtorch, gives a warning.
    pub fn check_same(&self, now: &Self, data_dir: &Path) -> Result<()> {
        for (file, sha256) in &now.data {
            ensure!(
                self.data.get(file) == Some(sha256),
                "{}: not the file that the run was trained on; --data-dir names another folder",
                mnist::raw_folder(data_dir).join(file).display()
            );
        }
        let (then, now) = (&self.environment, &now.environment);
        for (what, then, now) in [
            ("CPU capability", Some(&then.cpu_capability), Some(&now.cpu_capability)),
            ("libtorch", then.libtorch.as_ref(), now.libtorch.as_ref()),
        ] {
            if then != now {
                let [then, now] = [then, now].map(|value| value.map_or("unknown", String::as_str));
                banner::print(&format!(
                    "warning: {what} was {then} and is {now}; the results may differ in their last digits"
                ));
            }
        }
        Ok(())
    }
}

impl Record {
    /// Reads a run.json, by its path or that of its folder.
    ///
    /// # Errors
    /// What is no run.json. The message names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
        let name = path.display();
        let bytes = file::read(&path, LARGEST).map_err(|error| {
            anyhow!("{:#}; name the run.json of a run, or its folder", anyhow::Error::new(error))
        })?;
        serde_json::from_slice(&bytes).with_context(|| format!("{name}: not the run.json of a run"))
    }

    /// Writes run.json into the run's folder.
    ///
    /// # Errors
    /// A folder that can't be written to.
    pub fn write(&self, log_dir: &Path) -> Result<()> {
        Ok(file::write(&log_dir.join(FILE), format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())?)
    }
}

/// Keeps a run's folder to this process for as long as the file is open; the lock goes with the process, however it
/// ends.
///
/// # Errors
/// Another process has the folder.
pub fn lock(log_dir: &Path) -> Result<File> {
    let name = log_dir.display();
    let folder = File::open(log_dir).with_context(|| format!("cannot open {name}"))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => {
            bail!("{name}: this run is still going; wait for its end, or stop it")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {name}")),
    }
}
