//! What a run has left in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tch::Device;
use tch::vision::dataset::Dataset;

use super::Error;
use super::predictions::Predictions;
use crate::islp::module::SimpleModule;
use crate::notebook::{self, weights};
use crate::run::RunJson;
use crate::util::file;
use crate::util::path::shown_path;

/// A hundred thousand epochs have less.
const MAX_CSV: u64 = 16 << 20;
/// A page of more runs would be too long to read, and too large.
const MAX_RUNS: usize = 6;
/// From an output folder to its version folders there are two steps.
const MAX_DEPTH: usize = 3;

/// A version folder, and what is in it.
pub struct Run {
    /// What the page calls it: the end of its path.
    pub name: String,
    /// None if the folder holds none.
    pub metrics_csv: Option<Vec<u8>>,
    /// The model, and what it says of the test images; none if the folder holds no weights.
    pub model: Option<(SimpleModule, Predictions)>,
    /// The whole of run.json; empty if there is none.
    pub run_json: Map<String, Value>,
}

impl Run {
    /// Reads a version folder, and has its model look at the data's test images.
    pub fn read(folder: &Path, name: String, mnist: &Dataset, device: Device) -> Result<Self, Error> {
        let metrics_csv = match file::read(&folder.join("metrics.csv"), MAX_CSV) {
            Err(error) if error.is_not_found() => None,
            bytes => Some(bytes?),
        };
        let run_json = RunJson::fields(folder)?.unwrap_or_default();
        let module = weights_in(folder).map(|path| weights::load(&path, device)).transpose()?;
        let batch_size = run_json.get("options").and_then(|options| options["batch_size"].as_u64());
        let batch_size =
            batch_size.map_or(notebook::Options::default().batch_size, |size| size.max(1) as usize);
        let model = match module {
            Some(module) => {
                let predictions =
                    Predictions::new(&module, mnist, batch_size).map_err(|error| match error {
                        Error::NotFinite => Error::Outputs(folder.to_path_buf()),
                        error => error,
                    })?;
                Some((module, predictions))
            }
            None => None,
        };
        Ok(Self { name, metrics_csv, model, run_json })
    }
}

/// Where a run's weights are: the last checkpoint, model.safetensors, or the only other file of its kind.
fn weights_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    if let Ok(newest) = weights::find(folder) {
        return Some(newest);
    }
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
    files.next().filter(|_| files.next().is_none())
}

/// The version folders in a folder, or itself if it is one, by what a page calls them.
pub fn find(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    if is_run(folder) {
        let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let parts: Vec<_> = path.iter().map(|part| shown_path(part.as_ref())).collect();
        return Ok(vec![(parts[parts.len().saturating_sub(2)..].join("/"), folder.to_path_buf())]);
    }
    let mut runs = vec![];
    find_below(folder, Path::new(""), &mut runs)?;
    runs.sort();
    match runs.len() {
        0 => Err(Error::NoRun(folder.to_path_buf())),
        count if count > MAX_RUNS => Err(Error::ManyRuns { folder: folder.to_path_buf(), count }),
        _ => Ok(runs),
    }
}

fn is_run(folder: &Path) -> bool {
    folder.join("metrics.csv").exists() || weights_in(folder).is_some()
}

fn find_below(root: &Path, below: &Path, runs: &mut Vec<(String, PathBuf)>) -> Result<(), Error> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).map_err(file::Error::io("list", &folder))? {
        let path = below.join(entry.map_err(file::Error::io("list", &folder))?.file_name());
        if !root.join(&path).is_dir() {
            continue;
        }
        if is_run(&root.join(&path)) {
            runs.push((shown_path(&path), root.join(&path)));
        } else if path.components().count() < MAX_DEPTH {
            find_below(root, &path, runs)?;
        }
    }
    Ok(())
}
