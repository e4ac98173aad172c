//! Which files are compared, and how they are found and read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Deeper than any output folder; a link that leads back to its own folder ends here instead of never.
const DEEPEST: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Metrics,
    Tensors,
    Text,
}

impl Kind {
    pub fn of(path: &Path) -> Option<Kind> {
        match path.extension()?.to_str()? {
            "csv" => Some(Kind::Metrics),
            "safetensors" => Some(Kind::Tensors),
            "txt" => Some(Kind::Text),
            _ => None,
        }
    }
}

/// Collects what is comparable in `root/below`, by path below `root`. A folder named like a file is listed as well:
/// reading it then says what it is.
pub fn list(root: &Path, below: &Path, files: &mut Vec<(PathBuf, Kind)>) -> Result<()> {
    let folder = root.join(below);
    let name = folder.display();
    ensure!(below.components().count() <= DEEPEST, "{name} lies too deep: name the output folder itself");
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {name}"))? {
        let file_name = entry.with_context(|| format!("cannot list {name}"))?.file_name();
        let file = below.join(&file_name);
        match Kind::of(&file) {
            Some(Kind::Tensors) => files.push((file, Kind::Tensors)),
            Some(kind) if file_name == "metrics.csv" || file_name == "stdout.txt" => files.push((file, kind)),
            _ if file_name != "checkpoints" && root.join(&file).is_dir() => list(root, &file, files)?,
            _ => {}
        }
    }
    Ok(())
}

pub fn is_folder(path: &Path) -> Result<bool> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(metadata.is_dir())
}

/// Only regular files: a FIFO would wait for a writer, `/dev/zero` would never end.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {name}"))?;
    ensure!(!metadata.is_dir(), "{name} is a folder, not a file");
    ensure!(metadata.is_file(), "{name} is not a regular file");
    fs::read(path).with_context(|| format!("cannot read {name}"))
}
