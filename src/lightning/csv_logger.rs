//! Lightning's `CSVLogger`: metrics by epoch and step in `SAVE_DIR/NAME/version_N/metrics.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use csv::{Reader, Terminator, WriterBuilder};
use sha2::{Digest, Sha256};

use super::checkpoint::TrainerState;
use super::error::Error;
use super::metrics::repr;
use crate::util::{file, text::hex};

/// The size of metrics.csv after some hundred thousand epochs.
const MAX_BYTES: u64 = 64 << 20;

/// The metrics of one run.
///
/// ```
/// use islp_mnist::lightning::CsvLogger;
///
/// let folder = tempfile::tempdir()?;
/// let mut logger = CsvLogger::new(folder.path(), "MNIST")?;
/// logger.log_metrics(&[("valid_loss", 0.25)], 0, 187);
/// logger.save()?;
/// let csv = std::fs::read_to_string(folder.path().join("MNIST/version_0/metrics.csv"))?;
/// assert_eq!(csv, "epoch,step,valid_loss\r\n0,187,0.25\r\n");
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct CsvLogger {
    /// None if it writes nothing.
    log_dir: Option<PathBuf>,
    rows: Vec<BTreeMap<String, String>>,
}

impl CsvLogger {
    /// Creates the folder `save_dir/name/version_N`, where N is one above the highest version there.
    ///
    /// # Errors
    /// Fails if the folder can't be created.
    pub fn new(save_dir: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        let versions = save_dir.as_ref().join(name);
        let cannot_write = |reason| Error::OutputFolder { folder: versions.clone(), reason };
        fs::create_dir_all(&versions).map_err(cannot_write)?;
        let mut version = next_version(&versions).map_err(cannot_write)?;
        loop {
            let log_dir = versions.join(format!("version_{version}"));
            match fs::create_dir(&log_dir) {
                Ok(()) => return Ok(Self { log_dir: Some(log_dir), rows: vec![] }),
                // Another run has taken this number in the meantime.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => version += 1,
                Err(reason) => return Err(cannot_write(reason)),
            }
        }
    }

    /// A logger without a file, for a program that reads the [`rows`](Self::rows).
    pub fn in_memory() -> Self {
        Self { log_dir: None, rows: vec![] }
    }

    /// Resumes the run in `log_dir` at the state of a checkpoint, or starts it again without one. Rows of its metrics.csv
    /// that were logged later are dropped.
    ///
    /// # Errors
    /// Fails if metrics.csv can't be read, or changed since the checkpoint.
    pub fn resume(log_dir: &Path, state: Option<&TrainerState>) -> Result<Self, Error> {
        let mut logger = Self { log_dir: Some(log_dir.to_path_buf()), rows: vec![] };
        let Some(state) = state.filter(|state| state.metrics_sha256 != logger.sha256()) else {
            // Before the first row there may be no file.
            return Ok(logger);
        };
        let path = logger.metrics_file_path();
        let bytes = file::read(&path, MAX_BYTES)?;
        let mut reader = Reader::from_reader(bytes.as_slice());
        for row in reader.deserialize() {
            let mut row: BTreeMap<String, String> =
                row.map_err(|reason| Error::NotMetrics { path: path.clone(), reason })?;
            // An empty cell is a metric that this row does not have.
            row.retain(|_, value| !value.is_empty());
            let count = |name| row.get(name).and_then(|count| count.parse::<usize>().ok());
            let is_before = |step| step < state.global_step;
            let is_kept = count("epoch").is_some_and(|epoch| {
                epoch < state.epochs_done() || epoch == state.epoch && count("step").is_some_and(is_before)
            });
            if is_kept {
                logger.rows.push(row);
            }
        }
        if logger.sha256() != state.metrics_sha256 {
            return Err(Error::MetricsChanged { path, global_step: state.global_step });
        }
        Ok(logger)
    }

    /// The run's folder; empty if the logger writes no file.
    pub fn log_dir(&self) -> &Path {
        self.log_dir.as_deref().unwrap_or(Path::new(""))
    }

    /// The file that [`save`](Self::save) writes.
    pub fn metrics_file_path(&self) -> PathBuf {
        self.log_dir().join("metrics.csv")
    }

    /// The rows logged so far: values by name, as Python writes them.
    pub fn rows(&self) -> &[BTreeMap<String, String>] {
        &self.rows
    }

    /// Adds a row.
    pub fn log_metrics(&mut self, metrics: &[(&str, f32)], epoch: usize, step: usize) {
        let values = metrics.iter().map(|&(name, value)| (name.to_string(), repr(value)));
        let position =
            [("epoch", epoch), ("step", step)].map(|(name, count)| (name.to_string(), count.to_string()));
        self.rows.push(values.chain(position).collect());
    }

    /// The bytes of metrics.csv: CRLF line ends, a column for every metric logged so far, sorted by name.
    pub fn to_csv(&self) -> Vec<u8> {
        let columns: BTreeSet<&str> =
            self.rows.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(vec![]);
        let in_memory = "a Vec takes every record";
        writer.write_record(&columns).expect(in_memory);
        for row in &self.rows {
            let cells = columns.iter().map(|&column| row.get(column).map_or("", String::as_str));
            writer.write_record(cells).expect(in_memory);
        }
        writer.into_inner().expect(in_memory)
    }

    /// The last value of every metric; none if it is not finite.
    pub fn last_metrics(&self) -> BTreeMap<String, Option<f64>> {
        let cells =
            self.rows.iter().flatten().filter(|(name, _)| !["epoch", "step"].contains(&name.as_str()));
        let value = |text: &String| text.parse().ok().filter(|value: &f64| value.is_finite());
        cells.map(|(name, text)| (name.clone(), value(text))).collect()
    }

    /// The SHA-256 of metrics.csv, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.to_csv()))
    }

    /// Writes metrics.csv.
    ///
    /// # Errors
    /// Fails if the disk is full, or the folder is missing or not writable.
    pub fn save(&self) -> Result<(), Error> {
        if self.log_dir.is_some() {
            file::write(&self.metrics_file_path(), &self.to_csv())?;
        }
        Ok(())
    }
}

/// Lightning's `_get_next_version`: one above the highest N of the folders `version_N`, 0 if there are none.
fn next_version(versions: &Path) -> std::io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(versions)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("version_")).and_then(|rest| {
            // Lightning splits at every "_", so version_3_old counts as 3.
            rest.split('_').next().unwrap_or(rest).parse::<u64>().ok()
        });
        if let Some(number) = number
            && entry.path().is_dir()
        {
            next = next.max(number.saturating_add(1));
        }
    }
    Ok(next)
}
