//! Which files are compared, and how they are found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::util::file;

/// Deeper than any output folder; a link that leads back to its own folder ends here instead of never.
pub const DEEPEST: usize = 8;

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

/// What is comparable in a folder, by path below it.
pub fn list(folder: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let mut files = BTreeSet::new();
    list_below(folder, Path::new(""), &mut files)?;
    Ok(files)
}

/// A folder named like a file is listed as one: reading it then says what it is.
fn list_below(root: &Path, below: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let folder = root.join(below);
    if below.components().count() > DEEPEST {
        return Err(Error::TooDeep(folder));
    }
    for entry in fs::read_dir(&folder).map_err(file::Error::io("list", &folder))? {
        let name = entry.map_err(file::Error::io("list", &folder))?.file_name();
        let path = below.join(&name);
        let is_of_run = matches!(Kind::of(&path), Ok(Kind::Tensors | Kind::Trace));
        if name == "metrics.csv" || name == "stdout.txt" || is_of_run {
            files.insert(path);
        } else if name != "checkpoints" && root.join(&path).is_dir() {
            list_below(root, &path, files)?;
        }
    }
    Ok(())
}

pub fn is_folder(path: &Path) -> Result<bool, Error> {
    Ok(fs::metadata(path).map_err(file::Error::io("read", path))?.is_dir())
}

/// The run.json files in a folder, by path below it.
pub fn list_run_json(folder: &Path, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let parents = files.iter().filter_map(|file| file.parent());
    parents.map(|parent| parent.join("run.json")).filter(|path| folder.join(path).is_file()).collect()
}

/// Lightning's own checkpoint beside where a file would be, by path below the folder.
pub fn pickle_beside(folder: &Path, file: &Path) -> Option<PathBuf> {
    let checkpoints = file.parent()?.join("checkpoints");
    let entries = fs::read_dir(folder.join(&checkpoints)).ok()?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let pickles =
        names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "ckpt"));
    Some(checkpoints.join(pickles.max()?))
}
