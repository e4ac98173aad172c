//! Which files are compared, and how they are found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::util::file;

/// Deeper than any output folder; a link that leads back to its own folder ends here instead of never.
pub const MAX_DEPTH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Metrics,
    Tensors,
    Text,
    Trace,
}

impl Kind {
    pub fn of(path: &Path) -> Result<Kind, Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Kind::Metrics),
            Some("safetensors") => Ok(Kind::Tensors),
            Some("txt") => Ok(Kind::Text),
            Some("trace") => Ok(Kind::Trace),
            _ => Err(Error::UnknownKind(path.to_owned())),
        }
    }

    /// The most bytes that a file may have. The notebook's have 10 KB, 1 MB and 3 KB. None if it is read step by step.
    pub fn limit(self) -> Option<u64> {
        match self {
            Kind::Metrics | Kind::Text => Some(64 << 20),
            Kind::Tensors => Some(1 << 30),
            Kind::Trace => None,
        }
    }
}

/// The folder of a run's checkpoints, in its own.
pub const CHECKPOINTS: &str = "checkpoints";
/// The newest of them; a link, or where there are no links a copy.
pub const LAST: &str = "checkpoints/last.safetensors";
/// A run's weights at its end.
pub const MODEL: &str = "model.safetensors";

/// What is comparable in a folder, by path below it.
#[derive(Debug, Default)]
pub struct Listing {
    /// All but what is in folders of checkpoints.
    pub files: BTreeSet<PathBuf>,
    /// The folders of runs, which have metrics, tensors or checkpoints.
    pub runs: BTreeSet<PathBuf>,
    /// Those of them that have a last checkpoint.
    pub with_last: BTreeSet<PathBuf>,
}

impl Listing {
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        listing.add(folder, Path::new(""))?;
        Ok(listing)
    }

    /// A folder named like a file is listed as one: reading it then says what it is.
    fn add(&mut self, root: &Path, below: &Path) -> Result<(), Error> {
        let folder = root.join(below);
        if below.components().count() > MAX_DEPTH {
            return Err(Error::TooDeep(folder));
        }
        for entry in fs::read_dir(&folder).map_err(file::Error::io("list", &folder))? {
            let name = entry.map_err(file::Error::io("list", &folder))?.file_name();
            let path = below.join(&name);
            let is_of_run = name == "metrics.csv" || matches!(Kind::of(&path), Ok(Kind::Tensors));
            if is_of_run || name == "stdout.txt" || matches!(Kind::of(&path), Ok(Kind::Trace)) {
                self.files.insert(path);
            } else if name == CHECKPOINTS {
                self.add_checkpoints(&folder, below);
                continue;
            } else if root.join(&path).is_dir() {
                self.add(root, &path)?;
            }
            if is_of_run {
                self.runs.insert(below.to_path_buf());
            }
        }
        Ok(())
    }

    fn add_checkpoints(&mut self, folder: &Path, below: &Path) {
        // A link that leads nowhere is an error, not the absence of a checkpoint.
        let has_last = folder.join(LAST).symlink_metadata().is_ok();
        if has_last {
            self.with_last.insert(below.to_path_buf());
        }
        if has_last || pickle_in(folder, Path::new("")).is_some() {
            self.runs.insert(below.to_path_buf());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.with_last.is_empty()
    }

    /// The run.json files, by path below the folder.
    pub fn run_json(&self, folder: &Path) -> BTreeSet<PathBuf> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        let parents = parents.chain(self.runs.iter().map(PathBuf::as_path));
        parents.map(|parent| parent.join("run.json")).filter(|path| folder.join(path).is_file()).collect()
    }
}

pub fn is_folder(path: &Path) -> Result<bool, Error> {
    Ok(fs::metadata(path).map_err(file::Error::io("read", path))?.is_dir())
}

/// Lightning's own checkpoint of a run, by path below the folder.
pub fn pickle_in(folder: &Path, run: &Path) -> Option<PathBuf> {
    let checkpoints = run.join(CHECKPOINTS);
    let entries = fs::read_dir(folder.join(&checkpoints)).ok()?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let pickles =
        names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "ckpt"));
    Some(checkpoints.join(pickles.max()?))
}
