//! `run.json`: the options of a run, its data and machine, and how it ended; enough to repeat the run.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf, absolute};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Error, RunOptions, TrainOptions, as_text};
use crate::notebook::Fitted;
use crate::torch::Machine;
use crate::torchvision;
use crate::util::file;
use crate::util::json;
use crate::util::path::{from_text, to_text};

const FILE: &str = "run.json";
/// The `command` of a run.json from `reproduce`; one from `train` has none.
const REPRODUCE: &str = "reproduce";
/// A run.json has less than a hundredth of this.
const MAX_BYTES: u64 = 1 << 20;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunJson<Options = TrainOptions> {
    /// The options, data, environment and start of the run.
    #[serde(flatten)]
    pub run: Run<Options>,
    /// The absolute path of the data, a URL if it is not UTF-8; none if version 0.1 wrote this.
    pub data_dir: Option<String>,
    /// The data set, `MNIST` or `other`; none if an older version wrote this.
    pub data_set: Option<String>,
    /// The results when the run last ended; none if all its processes were killed or failed.
    pub outcome: Option<Outcome>,
}

/// Everything that a run's bits depend on.
///
/// ```
/// use islp_mnist::run::{Run, TrainOptions};
///
/// let run = Run::new(&TrainOptions::default(), "tests/data/fashion-mnist".as_ref())?;
/// assert_eq!(run.data.len(), 4);
/// # Ok::<(), islp_mnist::run::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run<Options = TrainOptions> {
    /// The options, with the device and the threads that the run used.
    pub options: Options,
    /// SHA-256 of the data set's four files, by name.
    pub data: BTreeMap<String, String>,
    /// The program and the machine.
    pub environment: Environment,
    /// The time at which it started, in UTC, as in RFC 3339.
    pub start: String,
}

/// The program and the machine.
///
/// ```
/// use islp_mnist::run::Environment;
///
/// let environment = Environment::current();
/// assert_eq!(environment.changed(&environment), []);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The machine and the libraries.
    #[serde(flatten)]
    pub machine: Machine,
    /// The version of tch; none if Python wrote this, by scripts/train.py.
    pub tch: Option<String>,
    /// The version of this crate.
    pub islp_mnist: String,
    /// The commit it was built from, with "-modified" if the sources differed from it; none outside git.
    pub git_commit: Option<String>,
}

/// The results of a run that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The way in which it ended; none if version 0.1 wrote this.
    pub end: Option<End>,
    /// Epochs finished.
    pub epochs: usize,
    /// Training steps taken.
    pub global_step: usize,
    /// Seconds from the start of the program to its end; for a resumed run, the sum over the processes that recorded an
    /// outcome.
    pub duration_seconds: f64,
    /// The last value of every metric; none if it was not finite.
    pub metrics: BTreeMap<String, Option<f64>>,
}

/// The way in which a run ended, as `run.json` and `study.csv` spell it.
///
/// ```
/// use islp_mnist::run::End;
///
/// assert_eq!("failed: a full disk".parse(), Ok(End::Failed("a full disk".into())));
/// assert_eq!(End::MaxEpochs.to_string(), "max_epochs");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It trained all its epochs.
    MaxEpochs,
    /// It reached its time limit.
    MaxTime,
    /// A signal stopped it.
    Interrupted,
    /// Its loss became NaN or infinite.
    Diverged,
    /// It ended with this error. Only a study records that.
    Failed(String),
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::MaxEpochs => f.write_str("max_epochs"),
            Self::MaxTime => f.write_str("max_time"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Diverged => f.write_str("diverged"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

as_text!(End, "end must be max_epochs, max_time, interrupted, diverged or failed with a reason", |text| {
    let reason = text.split_once(": ").map_or("", |(_, reason)| reason);
    [Self::MaxEpochs, Self::MaxTime, Self::Interrupted, Self::Diverged, Self::Failed(reason.into())]
});

impl<Options> RunJson<Options> {
    /// Describes a run on the data in `data_dir`.
    pub fn new(run: Run<Options>, data_dir: &Path, outcome: Option<Outcome>) -> Self {
        let is_mnist = torchvision::differing(&run.data).is_empty();
        let data_set = Some(if is_mnist { "MNIST" } else { "other" }.into());
        let data_dir = absolute(data_dir).ok().map(|path| to_text(&path));
        Self { run, data_dir, data_set, outcome }
    }

    /// The folder of the data.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.data_dir.as_deref().map(from_text)
    }
}

impl RunJson {
    /// Reads a `run.json` of `train`, given its path or its folder's.
    ///
    /// # Errors
    /// Fails if the file can't be read, or is not a `run.json` of `train`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = path_of(path);
        let json: Value = parse(&path)?;
        if json["command"] == REPRODUCE {
            return Err(Error::OfReproduce(path));
        }
        serde_json::from_value(json).map_err(|reason| Error::NotRunJson { path, reason })
    }

    /// Reads the fields of any `run.json`, including those of `reproduce` and Python, given its path or its folder's. None
    /// if there is no such file.
    ///
    /// # Errors
    /// Fails if the file can't be read, or is not a JSON object.
    pub fn fields(path: &Path) -> Result<Option<Map<String, Value>>, Error> {
        match parse(&path_of(path)) {
            Err(Error::File(error)) if error.is_not_found() => Ok(None),
            fields => fields.map(Some),
        }
    }

    /// Writes `run.json` into the run's folder.
    ///
    /// # Errors
    /// Fails if the folder can't be written to.
    pub fn write(&self, log_dir: &Path) -> Result<(), Error> {
        Ok(file::write(&log_dir.join(FILE), text(self).as_bytes())?)
    }
}

impl Run {
    /// Describes a run that starts now, on the data in `data_dir`.
    ///
    /// # Errors
    /// Fails if the data can't be read.
    pub fn new(options: &TrainOptions, data_dir: &Path) -> Result<Self, Error> {
        let data = owned(&torchvision::checksums(data_dir)?);
        let options = options.clone();
        Ok(Self { options, data, environment: Environment::current(), start: rfc3339(SystemTime::now()) })
    }

    /// Checks that `now`, which resumes or repeats this run, has the same data. Returns what else has changed.
    ///
    /// # Errors
    /// Fails if a file of the data differs; the message names it.
    pub fn check_same(&self, now: &Self, data_dir: &Path) -> Result<Vec<Changed>, Error> {
        for (file, sha256) in &now.data {
            if self.data.get(file) != Some(sha256) {
                return Err(Error::OtherData(torchvision::find(data_dir, file)?));
            }
        }
        Ok(self.environment.changed(&now.environment))
    }
}

impl Environment {
    /// The environment of this process.
    pub fn current() -> Self {
        Self {
            machine: Machine::current(),
            tch: Some(env!("TCH_VERSION").into()),
            islp_mnist: env!("CARGO_PKG_VERSION").into(),
            git_commit: option_env!("GIT_COMMIT").map(String::from),
        }
    }

    /// The differences of `now` from this environment.
    pub fn changed(&self, now: &Self) -> Vec<Changed> {
        let [then, now] = [self, now].map(|environment| &environment.machine);
        let pairs = [
            ("CPU capability", Some(then.cpu_capability.clone()), Some(now.cpu_capability.clone())),
            ("libtorch", then.libtorch.clone(), now.libtorch.clone()),
        ];
        let changed = pairs.into_iter().filter(|(_, then, now)| then != now);
        changed.map(|(what, then, now)| Changed { what, then, now }).collect()
    }
}

/// A difference between two environments that may change the last digits of a run's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    what: &'static str,
    then: Option<String>,
    now: Option<String>,
}

impl Display for Changed {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let [then, now] = [&self.then, &self.now].map(|value| value.as_deref().unwrap_or("unknown"));
        write!(f, "{} was {then} and is {now}; the results may differ in their last digits", self.what)
    }
}

/// The file of a run of `reproduce`.
#[derive(Serialize)]
#[cfg_attr(test, derive(Deserialize))]
struct OfReproduce {
    command: String,
    #[serde(flatten)]
    run_json: RunJson<RunOptions>,
}

/// Writes `run.json` into the folder of a run of `reproduce`, which started at `start`, on the data with these checksums.
///
/// # Errors
/// Fails if the folder can't be written to.
pub fn write_of_reproduce(
    fitted: &Fitted,
    options: &RunOptions,
    data: &BTreeMap<&'static str, String>,
    data_dir: &Path,
    start: SystemTime,
) -> Result<(), Error> {
    let outcome = Outcome {
        end: Some(End::MaxEpochs),
        epochs: options.epochs,
        global_step: fitted.global_step,
        duration_seconds: fitted.duration.as_secs_f64(),
        metrics: fitted.metrics.clone(),
    };
    let run = Run {
        options: options.clone(),
        data: owned(data),
        environment: Environment::current(),
        start: rfc3339(start),
    };
    let run_json = RunJson::new(run, data_dir, Some(outcome));
    let of_reproduce = OfReproduce { command: REPRODUCE.into(), run_json };
    Ok(file::write(&fitted.log_dir.join(FILE), of_reproduce.text().as_bytes())?)
}

impl OfReproduce {
    /// Returns the file's text. Its keys are sorted at every level, while those of `train` are in the order of the fields.
    fn text(&self) -> String {
        text(&serde_json::to_value(self).expect("a run goes into JSON"))
    }
}

fn text(run_json: &impl Serialize) -> String {
    serde_json::to_string_pretty(run_json).expect("a run goes into JSON") + "\n"
}

/// The path of a `run.json`, given its own or its folder's.
pub(super) fn path_of(file_or_folder: &Path) -> PathBuf {
    if file_or_folder.is_dir() { file_or_folder.join(FILE) } else { file_or_folder.to_path_buf() }
}

/// Parses a `run.json`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = file::read(path, MAX_BYTES)?;
    json::parse(&bytes).map_err(|reason| Error::NotRunJson { path: path.to_path_buf(), reason })
}

fn owned(checksums: &BTreeMap<&'static str, String>) -> BTreeMap<String, String> {
    checksums.iter().map(|(&file, sha256)| (file.to_owned(), sha256.clone())).collect()
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::{End, OfReproduce, RunJson, text};

    const OF_TRAIN: &str = r#"{
  "options": {
    "model": "mlr",
    "epochs": 2,
    "batch_size": 16,
    "validation": 0.2,
    "seed": 0,
    "num_workers": 4,
    "lr": 0.01,
    "threads": 1,
    "device": "cuda:1",
    "generator": "cuda",
    "limit_train_batches": 0.5,
    "vary": "init=7",
    "checkpoint_every": 1,
    "checkpoint_every_n_steps": 50,
    "name": null
  },
  "data": {
    "t10k-images-idx3-ubyte": "10011aad7e104ca4844b2f2ec20ea5e697cc6fe044fcdfe102805b0cffb2c8b5"
  },
  "environment": {
    "processor": "AMD EPYC",
    "cpu_capability": "AVX512",
    "libtorch": "2.13.0+cu130",
    "libraries": {
      "mkl": "2024.2"
    },
    "gpus": [
      "NVIDIA H200, 9.0"
    ],
    "driver": "580.65.06",
    "variables": {
      "MKL_ENABLE_INSTRUCTIONS": "AVX2"
    },
    "tch": "0.26.0",
    "islp_mnist": "0.2.0",
    "git_commit": null
  },
  "start": "2026-11-28T23:44:43Z",
  "data_dir": "/data",
  "data_set": "other",
  "outcome": {
    "end": "diverged",
    "epochs": 1,
    "global_step": 6,
    "duration_seconds": 0.121462193,
    "metrics": {
      "train_loss": null,
      "valid_loss": 1.8948339223861694
    }
  }
}
"#;

    const OF_REPRODUCE: &str = r#"{
  "command": "reproduce",
  "data": {
    "t10k-images-idx3-ubyte": "10011aad7e104ca4844b2f2ec20ea5e697cc6fe044fcdfe102805b0cffb2c8b5"
  },
  "data_dir": "/data",
  "data_set": "other",
  "environment": {
    "cpu_capability": "AVX512",
    "driver": null,
    "git_commit": null,
    "gpus": null,
    "islp_mnist": "0.2.0",
    "libtorch": "2.13.0+cu130",
    "processor": "AMD EPYC",
    "tch": "0.26.0",
    "variables": {}
  },
  "options": {
    "batch_size": 16,
    "device": "cpu",
    "epochs": 1,
    "generator": "cpu",
    "lr": 0.01,
    "num_workers": 4,
    "seed": 0,
    "threads": 1,
    "validation": 0.2
  },
  "outcome": {
    "duration_seconds": 0.116533498,
    "end": "max_epochs",
    "epochs": 1,
    "global_step": 5,
    "metrics": {
      "test_accuracy": 0.20999999344348907,
      "test_loss": 10.469943046569824
    }
  },
  "start": "2026-11-28T23:44:43Z"
}
"#;

    #[test]
    fn a_run_json_that_is_read_and_written_keeps_its_bytes() {
        let of_train: RunJson = serde_json::from_str(OF_TRAIN).unwrap();
        assert_eq!(text(&of_train), OF_TRAIN);
        let of_reproduce: OfReproduce = serde_json::from_str(OF_REPRODUCE).unwrap();
        assert_eq!(of_reproduce.text(), OF_REPRODUCE);
    }

    #[test]
    fn only_the_text_that_an_end_displays_parses_as_one() {
        for text in
            ["max_epochs", "max_time", "interrupted", "diverged", "failed: ", "failed: io: a full disk"]
        {
            assert_eq!(text.parse::<End>().map(|end| end.to_string()), Ok(text.to_string()));
        }
        for text in ["", "Diverged", "failed", "failed:x", "stopped: a full disk"] {
            assert!(text.parse::<End>().is_err(), "{text:?}");
        }
    }
}
