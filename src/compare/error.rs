//! Why two runs could not be compared.

use std::path::PathBuf;

use super::files::MAX_DEPTH;
use crate::torch::state_dict;
use crate::trace;
use crate::util::file;

/// Why there was nothing to compare, or why one file could not be.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{} and {} are different file types", .0.display(), .1.display())]
    TwoKinds(PathBuf, PathBuf),
    #[error("{}: expected a .csv, a .safetensors, a .trace or a .txt file", .0.display())]
    UnknownKind(PathBuf),
    #[error("no metrics.csv, *.safetensors, *.trace or stdout.txt in {} and {}", .0.display(), .1.display())]
    NoFiles(PathBuf, PathBuf),
    #[error("{} lies more than {MAX_DEPTH} folders deep", .0.display())]
    TooDeep(PathBuf),
    #[error("{}: the file is empty, without even a header", .0.display())]
    Empty(PathBuf),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error("{}: {}", .0.display(), .1)]
    Safetensors(PathBuf, state_dict::Error),
}
