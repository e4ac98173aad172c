//! Why two runs could not be compared.

use std::path::PathBuf;

use super::files::DEEPEST;
use crate::torch::state_dict;
use crate::util::file;

/// Why there was nothing to compare, or why one file could not be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that can't be read, is no regular file or too large.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A folder and a file, or a table and a text.
    #[error("{} and {} are of two kinds", .0.display(), .1.display())]
    TwoKinds(PathBuf, PathBuf),
    /// A file of a kind that is not compared.
    #[error("{}: expected a .csv, a .safetensors or a .txt file", .0.display())]
    UnknownKind(PathBuf),
    /// Two folders of which neither holds what a run writes.
    #[error("no metrics.csv, *.safetensors or stdout.txt in {} and {}", .0.display(), .1.display())]
    NoFiles(PathBuf, PathBuf),
    /// Folders in folders without an end, as a link to a folder around it makes them.
    #[error("{} lies more than {DEEPEST} folders deep", .0.display())]
    TooDeep(PathBuf),
    /// A table without even a header, of which two prove nothing.
    #[error("{}: the file is empty, without even a header", .0.display())]
    Empty(PathBuf),
    /// A file that is no safetensors, and what is wrong with it.
    #[error("{}: {}", .0.display(), .1)]
    Safetensors(PathBuf, state_dict::Error),
}
