//! Runs made elsewhere: folders of Lightning's `CSVLogger`, `NAME/version_N` with a `metrics.csv`, of which no seed is known.

use std::fs;
use std::path::{Path, PathBuf};

use super::run::{ModelName, Row, Varied};
use crate::chart::{Metric, test_points, valid_points};
use crate::run::End;
use crate::util::file;
use crate::util::path::shown_path;

/// A hundred thousand epochs are smaller.
pub(super) const MAX_CSV: u64 = 16 << 20;
/// Lightning's default is `lightning_logs/version_0`; people add a folder or two above it.
const MAX_DEPTH: usize = 4;

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    /// The folder above it, relative to the study's: the logger's name.
    pub name: String,
    /// N of `version_N`; for folders with other names, their place among them.
    pub number: u64,
    /// The folder.
    pub path: PathBuf,
}

/// Finds the folders with a `metrics.csv` below a folder, by name and number.
///
/// # Errors
/// Fails if a folder can't be listed.
pub fn logs_in(folder: &Path) -> Result<Vec<Log>, file::Error> {
    let mut found = vec![];
    find(folder, 0, &mut found)?;
    found.sort();
    let mut logs: Vec<Log> = vec![];
    for (place, path) in found.into_iter().enumerate() {
        let version = path.file_name().map(|name| shown_path(name.as_ref())).unwrap_or_default();
        let number = version.strip_prefix("version_").and_then(|number| number.parse().ok());
        let above = path.parent().and_then(|above| above.strip_prefix(folder).ok()).unwrap_or(Path::new(""));
        let name = match shown_path(above).as_str() {
            "" => shown_path(folder.file_name().unwrap_or_default().as_ref()),
            name => name.to_owned(),
        };
        logs.push(Log { name, number: number.unwrap_or(place as u64), path });
    }
    logs.sort();
    Ok(logs)
}

fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), file::Error> {
    for entry in fs::read_dir(folder).map_err(file::Error::io("list", folder))? {
        let path = entry.map_err(file::Error::io("list", folder))?.path();
        if !path.is_dir() {
            continue;
        }
        if path.join("metrics.csv").exists() {
            found.push(path);
        } else if depth + 1 < MAX_DEPTH {
            find(&path, depth + 1, found)?;
        }
    }
    Ok(())
}

impl Log {
    /// Reads the run's results: the last test accuracy and loss, under the names that Lightning's users often give them. None if there
    /// is no test accuracy, or the table can't be read.
    ///
    /// # Errors
    /// Fails if the file can't be read.
    pub fn row(&self) -> Result<Option<Row>, file::Error> {
        let csv = file::read(&self.path.join("metrics.csv"), MAX_CSV)?;
        let last = |points: Result<Vec<(f64, f64)>, _>| points.ok()?.last().map(|point| point.1);
        let valid = valid_points(Metric::Accuracy, &csv);
        let epochs = valid.iter().flatten().map(|point| point.0 as usize + 1).max().unwrap_or(0);
        let Some(test_accuracy) = last(test_points(Metric::Accuracy, &csv)) else { return Ok(None) };
        Ok(Some(Row {
            model: ModelName::Logger(self.name.clone()),
            varied: Varied::Run,
            seed: self.number,
            test_accuracy: Some(test_accuracy),
            test_loss: last(test_points(Metric::Loss, &csv)),
            valid_accuracy: last(valid),
            valid_loss: last(valid_points(Metric::Loss, &csv)),
            epochs,
            seconds: None,
            weights_sha256: None,
            end: End::MaxEpochs,
        }))
    }
}
