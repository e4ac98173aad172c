//! Lightning's `CSVLogger`: metrics by epoch and step in `SAVE_DIR/NAME/version_N/metrics.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use csv::{Terminator, WriterBuilder};

use crate::file;
use crate::python::repr;

/// The metrics of one run.
#[derive(Debug)]
pub struct CsvLogger {
    log_dir: PathBuf,
    rows: Vec<BTreeMap<&'static str, String>>,
}

impl CsvLogger {
    /// Creates the folder `save_dir/name/version_N`, N one above the highest there is, and no other run's.
    pub fn new(save_dir: &Path, name: &str) -> Result<Self> {
        let versions = save_dir.join(name);
        let cannot_write = || {
            format!("cannot write to the output folder {}; --output-dir names another", versions.display())
        };
        fs::create_dir_all(&versions).with_context(cannot_write)?;
        let mut version = next_version(&versions).with_context(cannot_write)?;
        loop {
            let log_dir = versions.join(format!("version_{version}"));
            match fs::create_dir(&log_dir) {
                Ok(()) => return Ok(Self { log_dir, rows: vec![] }),
                // Another run took that number in the meantime.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => version += 1,
                Err(error) => return Err(error).with_context(cannot_write),
            }
        }
    }

    /// The run's folder.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Where [`save`](Self::save) writes.
    pub fn metrics_file_path(&self) -> PathBuf {
        self.log_dir.join("metrics.csv")
    }

    /// Adds a row.
    pub fn log_metrics(&mut self, metrics: &[(&'static str, f32)], epoch: usize, step: usize) {
        let values = metrics.iter().map(|&(name, value)| (name, repr(value)));
        let place = [("epoch", epoch.to_string()), ("step", step.to_string())];
        self.rows.push(values.chain(place).collect());
    }

    /// The whole file: CRLF line ends, a column for every metric logged so far, sorted by name.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let columns: BTreeSet<&str> = self.rows.iter().flat_map(|row| row.keys().copied()).collect();
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(vec![]);
        writer.write_record(&columns)?;
        for row in &self.rows {
            writer.write_record(columns.iter().map(|&column| row.get(column).map_or("", String::as_str)))?;
        }
        Ok(writer.into_inner()?)
    }

    /// Puts the metrics so far on disk.
    pub fn save(&self) -> Result<()> {
        file::write(&self.metrics_file_path(), &self.to_csv()?)
    }
}

/// As `_get_next_version`: one above the highest number behind `version_`, 0 where there is none.
fn next_version(versions: &Path) -> std::io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(versions)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("version_")).and_then(|rest| {
            // Lightning splits at every "_": version_3_old counts as 3.
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
