//! One run of a study and its results; the results of all runs as `study.csv`.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, RUNS, STUDY_CSV};
use crate::notebook::models::Model;
use crate::run::{End, as_text};
use crate::torch::Source;
use crate::util::file;

/// The columns of study.csv.
const COLUMNS: [&str; 11] = [
    "model",
    "varied",
    "seed",
    "test_accuracy",
    "test_loss",
    "valid_accuracy",
    "valid_loss",
    "epochs",
    "seconds",
    "weights_sha256",
    "end",
];

/// Ten million rows are smaller.
const MAX_BYTES: u64 = 1 << 30;

/// Randomness that a study's seeds vary.
///
/// ```
/// use islp_mnist::{study::Varied, torch::Source};
///
/// assert_eq!("seed".parse(), Ok(Varied::Seed));
/// assert_eq!("init".parse(), Ok(Varied::Source(Source::Init)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Varied {
    /// Everything that Python's `seed_everything` seeds.
    Seed,
    /// One source of randomness; the others keep their draws.
    Source(Source),
    /// Whatever differed between runs made elsewhere, whose seeds are unknown.
    Run,
}

impl Display for Varied {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Seed => f.write_str("seed"),
            Self::Source(source) => source.fmt(f),
            Self::Run => f.write_str("run"),
        }
    }
}

as_text!(Varied, "must be seed, split, init, shuffle or dropout", |_| {
    [Self::Seed, Self::Run].into_iter().chain(Source::ALL.map(Self::Source))
});

/// The model of a run: one of the notebook's, or another one by the name of its Lightning logger.
///
/// ```
/// use islp_mnist::{notebook::models::Model, study::ModelName};
///
/// assert_eq!("mlr".parse(), Ok(ModelName::Notebook(Model::Mlr)));
/// assert_eq!("MNIST".parse(), Ok(ModelName::Logger("MNIST".into())));
/// assert_eq!(ModelName::Logger("MNIST".into()).in_notebook(), Some(Model::Mlp));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// One of the notebook's models.
    Notebook(Model),
    /// The name of a logger.
    Logger(String),
}

impl Display for ModelName {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Notebook(model) => model.fmt(f),
            Self::Logger(name) => f.write_str(name),
        }
    }
}

as_text!(ModelName, "must not be empty", |name| {
    let named = (!name.is_empty()).then(|| Self::Logger(name.to_owned()));
    Model::ALL.map(Self::Notebook).into_iter().chain(named)
});

impl ModelName {
    /// The name of the model's class, or of its logger.
    pub fn class_name(&self) -> &str {
        match self {
            Self::Notebook(model) => model.class_name(),
            Self::Logger(name) => name,
        }
    }

    /// The notebook's model whose runs have this name in the notebook.
    pub fn in_notebook(&self) -> Option<Model> {
        match self {
            Self::Notebook(model) => Some(*model),
            Self::Logger(name) => Model::ALL.into_iter().find(|model| model.run_name() == name),
        }
    }
}

/// One run of a study.
///
/// ```
/// use islp_mnist::{notebook::models::Model, study::{Key, Varied}};
///
/// let key = Key { model: Model::Mlp, varied: Varied::Seed, seed: 7 };
/// assert_eq!(key.folder().to_str(), Some("runs/mlp/seed=7"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The model.
    pub model: Model,
    /// The randomness that the seed varies.
    pub varied: Varied,
    /// The seed.
    pub seed: u64,
}

impl Key {
    /// Returns the name of its folder, such as `init=7`.
    pub fn name(&self) -> String {
        format!("{}={}", self.varied, self.seed)
    }

    /// Returns its folder relative to the study's, such as `runs/mlp/init=7`.
    pub fn folder(&self) -> PathBuf {
        [RUNS, self.model.name(), &self.name()].iter().collect()
    }
}

/// The results of one run.
///
/// ```
/// use islp_mnist::run::End;
/// use islp_mnist::study::rows_in;
///
/// let rows = rows_in("output/study".as_ref())?;
/// assert!(rows.iter().all(|row| row.end != End::MaxEpochs || row.test_accuracy.is_some()));
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The model.
    pub model: ModelName,
    /// The randomness that the seed varies.
    pub varied: Varied,
    /// The seed; of a run made elsewhere, the number of its version.
    pub seed: u64,
    /// Accuracy on the test images, from 0 to 1; none if the run did not finish.
    pub test_accuracy: Option<f64>,
    /// Loss on the test images, in nats.
    pub test_loss: Option<f64>,
    /// Accuracy on the validation images after the last epoch.
    pub valid_accuracy: Option<f64>,
    /// Loss on the validation images after the last epoch, in nats.
    pub valid_loss: Option<f64>,
    /// Epochs finished.
    pub epochs: usize,
    /// Seconds from start to end; for a resumed run, the sum of its parts that were not killed; unknown for one made elsewhere.
    pub seconds: Option<f64>,
    /// SHA-256 of model.safetensors, in hexadecimal.
    pub weights_sha256: Option<String>,
    /// The end of the run.
    pub end: End,
}

impl Row {
    /// Creates the row of a run that failed for this reason.
    pub fn failed(key: Key, reason: String) -> Self {
        let Key { model, varied, seed } = key;
        Self {
            model: ModelName::Notebook(model),
            varied,
            seed,
            test_accuracy: None,
            test_loss: None,
            valid_accuracy: None,
            valid_loss: None,
            epochs: 0,
            seconds: Some(0.0),
            weights_sha256: None,
            end: End::Failed(reason),
        }
    }

    /// True if the run failed.
    pub fn is_failed(&self) -> bool {
        matches!(self.end, End::Failed(_))
    }

    /// Returns the run's key; none for a run made elsewhere.
    pub fn key(&self) -> Option<Key> {
        match self.model {
            ModelName::Notebook(model) if self.varied != Varied::Run => {
                Some(Key { model, varied: self.varied, seed: self.seed })
            }
            _ => None,
        }
    }
}

/// Reads the rows of `study.csv` in a study's folder.
///
/// # Errors
/// There is no such file, or it can't be parsed.
pub fn rows_in(folder: &Path) -> Result<Vec<Row>, Error> {
    let path = folder.join(STUDY_CSV);
    let bytes = file::read(&path, MAX_BYTES)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    // Without a row, nothing else tells another program's table from a study's.
    if reader.headers().is_ok_and(|header| header != COLUMNS.as_slice()) {
        return Err(Error::Columns { path });
    }
    let rows: Result<Vec<Row>, _> = reader.into_deserialize().collect();
    rows.map_err(|reason| Error::Csv { path, reason })
}

/// Sorts the rows by what was varied, model and seed, and returns the bytes of `study.csv`.
pub fn to_csv(rows: &mut [Row]) -> Result<Vec<u8>, Error> {
    rows.sort_by_key(|row| (row.varied, row.model.to_string(), row.seed));
    let mut writer = csv::Writer::from_writer(vec![]);
    rows.iter().try_for_each(|row| writer.serialize(row)).map_err(|error| Error::Write(error.to_string()))?;
    writer.into_inner().map_err(|error| Error::Write(error.to_string()))
}

/// Returns the newest version folder in a run's folder that contains a run.json.
pub fn newest_version(folder: &Path) -> Option<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("version_")?.parse::<u64>().ok();
    let versions = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let begun = versions.filter(|path| number(path).is_some() && path.join("run.json").exists());
    begun.max_by_key(number)
}
