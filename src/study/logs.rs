//! Runs made elsewhere: folders of Lightning's `CSVLogger`, `NAME/version_N` with a `metrics.csv`. Their seeds are unknown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::run::{ModelName, Row, Varied};
use crate::chart::{CsvError, Metric, epochs, last_value, test_points, valid_points};
use crate::run::End;
use crate::util::file;
use crate::util::path::shown_path;

/// A hundred thousand epochs are smaller.
pub(super) const MAX_CSV: u64 = 16 << 20;
/// Lightning's default is `lightning_logs/version_0`; people add a folder or two above it.
const MAX_DEPTH: usize = 4;

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The folder above it, relative to the study's: the logger's name.
    pub name: String,
    /// N of `version_N`; folders with other names count on from the highest N.
    pub number: u64,
    /// The folder.
    pub path: PathBuf,
}

/// Why a log has no row.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum LogError {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", path.display())]
    Csv { path: PathBuf, reason: CsvError },
    #[error("{}: its test accuracy is {accuracy}, which is not from 0 to 1", path.display())]
    NotAFraction { path: PathBuf, accuracy: f64 },
}

/// Finds the folders with a `metrics.csv` below a folder, by name and number.
///
/// # Errors
/// Fails if a folder can't be listed.
pub fn logs_in(folder: &Path) -> Result<Vec<Log>, file::Error> {
    let mut found = vec![];
    find(folder, 0, &mut found)?;
    found.sort();
    // "." has no name of its own.
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let mut names: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in found {
        let above = path.parent().and_then(|above| above.strip_prefix(folder).ok()).unwrap_or(Path::new(""));
        let above =
            if above.as_os_str().is_empty() { whole.file_name().unwrap_or_default().as_ref() } else { above };
        names.entry(shown_path(above)).or_default().push(path);
    }
    let logs = names.into_iter().flat_map(|(name, paths)| {
        let mut next = paths.iter().filter_map(|path| version(path)).max().map_or(0, |highest| highest + 1);
        paths.into_iter().map(move |path| {
            let number = version(&path).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            Log { name: name.clone(), number, path }
        })
    });
    let mut logs: Vec<Log> = logs.collect();
    logs.sort_by(|a, b| (&a.name, a.number).cmp(&(&b.name, b.number)));
    Ok(logs)
}

/// N of `version_N`, as Lightning writes it.
fn version(path: &Path) -> Option<u64> {
    let text = path.file_name()?.to_str()?.strip_prefix("version_")?;
    text.parse().ok().filter(|number: &u64| number.to_string() == text && *number < u64::MAX)
}

fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), file::Error> {
    for entry in fs::read_dir(folder).map_err(file::Error::io("list", folder))? {
        let entry = entry.map_err(file::Error::io("list", folder))?;
        // Not a link, which could lead to the same folders again.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.join("metrics.csv").exists() {
            found.push(path);
        } else if depth + 1 < MAX_DEPTH {
            find(&path, depth + 1, found)?;
        }
    }
    Ok(())
}

impl Log {
    /// Reads the run's results. Its test accuracy and loss are the last ones, under the names that Lightning's users often
    /// give them.
    ///
    /// # Errors
    /// Fails if the file can't be read or parsed, has no test accuracy, or has one that is not from 0 to 1.
    pub fn row(&self) -> Result<Row, LogError> {
        let path = self.path.join("metrics.csv");
        let csv = file::read(&path, MAX_CSV)?;
        let points = match test_points(Metric::Accuracy, &csv) {
            Ok(points) => points,
            Err(reason) => return Err(LogError::Csv { path, reason }),
        };
        // Adding 0 makes -0 to 0.
        let accuracy = points.last().map_or(f64::NAN, |point| point.1) + 0.0;
        if !(0.0..=1.0).contains(&accuracy) {
            return Err(LogError::NotAFraction { path, accuracy });
        }
        Ok(Row {
            // As it is read back from study.csv.
            model: self.name.parse().unwrap_or_else(|_| ModelName::Logger(self.name.clone())),
            varied: Varied::Run,
            seed: self.number,
            test_accuracy: Some(accuracy),
            test_loss: last_value(test_points(Metric::Loss, &csv)),
            valid_accuracy: last_value(valid_points(Metric::Accuracy, &csv)),
            valid_loss: last_value(valid_points(Metric::Loss, &csv)),
            epochs: epochs(&csv).unwrap_or(0),
            seconds: None,
            weights_sha256: None,
            end: End::MaxEpochs,
        })
    }
}
