//! The results of a study's runs, and all of them as `study.csv`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Key, STUDY_CSV, Varied};
use crate::notebook::models::Model;
use crate::run::End;
use crate::util::file;

/// Ten million runs have less.
const MAX_BYTES: u64 = 1 << 30;

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
    /// The model that was trained.
    pub model: Model,
    /// What the seed is of.
    pub varied: Varied,
    /// The seed.
    pub seed: u64,
    /// On the test images, from 0 to 1; none if it did not end.
    pub test_accuracy: Option<f64>,
    /// On the test images, in nats.
    pub test_loss: Option<f64>,
    /// On the images held back, after the last epoch.
    pub valid_accuracy: Option<f64>,
    /// On the images held back, after the last epoch, in nats.
    pub valid_loss: Option<f64>,
    /// Epochs finished.
    pub epochs: usize,
    /// From the run's start to its end; of one that went on the sum of the parts that were not killed.
    pub seconds: f64,
    /// SHA-256 of its model.safetensors, in hexadecimal.
    pub weights_sha256: Option<String>,
    /// How it ended.
    pub end: End,
}

impl Row {
    /// Of a run that failed for this reason.
    pub fn failed(key: Key, reason: String) -> Self {
        let Key { model, varied, seed } = key;
        Self {
            model,
            varied,
            seed,
            test_accuracy: None,
            test_loss: None,
            valid_accuracy: None,
            valid_loss: None,
            epochs: 0,
            seconds: 0.0,
            weights_sha256: None,
            end: End::Failed(reason),
        }
    }

    /// Whether it is of a run that could not go on.
    pub fn is_failed(&self) -> bool {
        matches!(self.end, End::Failed(_))
    }

    /// Which run it is of.
    pub fn key(&self) -> Key {
        Key { model: self.model, varied: self.varied, seed: self.seed }
    }
}

/// The rows of the study in a folder, as its `study.csv` has them.
///
/// # Errors
/// No such file, or one that is something else.
pub fn rows_in(folder: &Path) -> Result<Vec<Row>, Error> {
    let path = folder.join(STUDY_CSV);
    let bytes = file::read(&path, MAX_BYTES)?;
    let rows: Result<Vec<Row>, _> = csv::Reader::from_reader(bytes.as_slice()).into_deserialize().collect();
    rows.map_err(|reason| Error::Csv { path, reason })
}

/// Sorts the rows by what was varied, model and seed; the bytes of `study.csv`.
pub fn to_csv(rows: &mut [Row]) -> Result<Vec<u8>, Error> {
    rows.sort_by_key(|row| (row.varied, row.model.name(), row.seed));
    let mut writer = csv::Writer::from_writer(vec![]);
    rows.iter().try_for_each(|row| writer.serialize(row)).map_err(|error| Error::Write(error.to_string()))?;
    writer.into_inner().map_err(|error| Error::Write(error.to_string()))
}
