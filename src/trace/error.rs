//! What goes wrong with a trace.

use std::path::PathBuf;

use tch::Kind;

use crate::torch;
use crate::util::file;

/// An error of a trace that is written or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("{}: is there already; a trace goes into a new file", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error(transparent)]
    Torch(#[from] torch::Error),
    #[error("{name} is of kind {kind:?}, of which there is no trace")]
    Kind { name: String, kind: Kind },
    #[error("{}: not a trace: {reason}", path.display())]
    NotATrace { path: PathBuf, reason: String },
    #[error("{}: a trace of format {format}, which this version does not read", path.display())]
    Format { path: PathBuf, format: u32 },
    #[error("{}, line {line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: String },
}
