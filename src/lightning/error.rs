//! What goes wrong with a run and with what it leaves on disk.

use std::io;
use std::path::PathBuf;

use crate::islp;
use crate::lightning::divergence::Divergence;
use crate::torch;
use crate::torch::state_dict;
use crate::util::file;
use crate::util::text::shown;

/// An error of a run, its metrics or its checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder that no run can be put into.
    #[error("cannot write to the output folder {}: {reason}", folder.display())]
    OutputFolder {
        /// The folder of the runs.
        folder: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// A file or folder of the run.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A file that is no table of metrics.
    #[error("{}: not a metrics.csv: {reason}", path.display())]
    NotMetrics {
        /// The file.
        path: PathBuf,
        /// What the CSV reader says.
        reason: csv::Error,
    },
    /// A metrics.csv that is not as the run wrote it.
    #[error("{}: not as it was when the checkpoint was saved after epoch {epoch}", path.display())]
    MetricsChanged {
        /// The file.
        path: PathBuf,
        /// The checkpoint's epoch.
        epoch: usize,
    },
    /// A checkpoint that can't be used.
    #[error("{}: {reason}", shown(&path.to_string_lossy()))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: CheckpointError,
    },
    /// Epochs of no step.
    #[error("no training batch in an epoch")]
    NoBatch,
    /// A loss that is no finite number.
    #[error(transparent)]
    Divergence(#[from] Divergence),
    /// Data that the model does not take, or short memory.
    #[error(transparent)]
    Islp(#[from] islp::Error),
}

impl From<torch::Error> for Error {
    fn from(error: torch::Error) -> Self {
        islp::Error::from(error).into()
    }
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file of weights only.
    #[error("holds weights, but no checkpoint to go on from")]
    OnlyWeights,
    /// A checkpoint that another version wrote in another way.
    #[error("written by islp-mnist {0}, whose checkpoints this version does not read")]
    Version(String),
    /// A file that is not as it was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// What belongs into a checkpoint and is not there.
    #[error("lacks {0}")]
    Lacks(String),
    /// A state of no parameter, or of another shape or dtype.
    #[error("{name} {reason}")]
    State {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No safetensors file, or one of other tensors.
    #[error(transparent)]
    Tensors(#[from] state_dict::Error),
    /// A generator's state that is none.
    #[error("generator.state: {0}")]
    Generator(torch::Error),
    /// Weights of another model.
    #[error(transparent)]
    Module(#[from] islp::Error),
}
