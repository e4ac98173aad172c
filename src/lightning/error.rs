//! Errors of a run, its metrics and its checkpoints.

use std::io;
use std::path::PathBuf;

use super::metrics::Divergence;
use crate::islp;
use crate::torch::{self, state_dict};
use crate::trace;
use crate::util::{file, text::shown};

/// An error of a run, its metrics or its checkpoints.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("cannot write to the output folder {}: {reason}", folder.display())]
    OutputFolder { folder: PathBuf, reason: io::Error },
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: not a metrics.csv: {reason}", path.display())]
    NotMetrics { path: PathBuf, reason: csv::Error },
    #[error("{}: changed since the checkpoint after step {global_step}", path.display())]
    MetricsChanged { path: PathBuf, global_step: usize },
    #[error("{}: {reason}", shown(&path.to_string_lossy()))]
    Checkpoint { path: PathBuf, reason: CheckpointError },
    #[error("an epoch has no training batch")]
    NoBatch,
    #[error(
        "the checkpoint is after {completed} batches of an epoch, which now has only {batches}; train with the data and the \
         limit of batches that it was saved with"
    )]
    NoBatchLeft { completed: usize, batches: usize },
    #[error(transparent)]
    Divergence(#[from] Divergence),
    #[error(transparent)]
    Islp(#[from] islp::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
}

impl From<torch::Error> for Error {
    fn from(error: torch::Error) -> Self {
        islp::Error::from(error).into()
    }
}

/// The reason why a file is not a checkpoint to resume from.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum CheckpointError {
    #[error("contains weights, but no checkpoint to resume from")]
    OnlyWeights,
    #[error("written by islp-mnist {0}, whose checkpoints this version does not read")]
    Version(String),
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("lacks {0}")]
    Lacks(String),
    #[error("from a run with a learning-rate scheduler, which only Python can resume")]
    Scheduler,
    #[error(
        "the optimizer has taken {steps} steps, but the trainer {global_step}, and a checkpoint contains one count for both"
    )]
    Steps { steps: usize, global_step: usize },
    #[error("saved within an epoch, with other metrics than this module logs")]
    Results,
    #[error("{name} {reason}")]
    State { name: String, reason: String },
    #[error(transparent)]
    Tensors(#[from] state_dict::Error),
    #[error("{name}: {reason}")]
    Generator { name: &'static str, reason: torch::Error },
    #[error(transparent)]
    Module(#[from] islp::Error),
}
