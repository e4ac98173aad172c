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
}

impl Kind {
    pub fn of(path: &Path) -> Result<Kind, Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Kind::Metrics),
            Some("safetensors") => Ok(Kind::Tensors),
            Some("txt") => Ok(Kind::Text),
            _ => Err(Error::UnknownKind(path.to_owned())),
        }
    }

    /// The most bytes that a file may have. The notebook's have 10 KB, 1 MB and 3 KB.
    pub fn limit(self) -> u64 {
        match self {
            Kind::Metrics | Kind::Text => 64 << 20,
            Kind::Tensors => 1 << 30,
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
        if name == "metrics.csv" || name == "stdout.txt" || matches!(Kind::of(&path), Ok(Kind::Tensors)) {
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
