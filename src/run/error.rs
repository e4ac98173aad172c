//! The errors of a run.

use std::path::PathBuf;

use crate::lightning;
use crate::torchvision;
use crate::trace;
use crate::util::file;
use crate::util::text::count;

/// Why a run can't start, or its `run.json` can't be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: not the run.json of a run: {reason}", path.display())]
    NotRunJson { path: PathBuf, reason: serde_json::Error },
    #[error("{}: does not say on what machine it was made", .0.display())]
    NoMachine(PathBuf),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error("{}: written by `reproduce`, whose two models draw from one generator", .0.display())]
    OfReproduce(PathBuf),
    #[error("{}: not the file that the run was trained on", .0.display())]
    OtherData(PathBuf),
    #[error(transparent)]
    Data(#[from] torchvision::Error),
    #[error("{}: no such folder", .0.display())]
    NoFolder(PathBuf),
    #[error("{}: another process is training this run", .0.display())]
    Running(PathBuf),
    #[error("{}: no checkpoint of `train` to resume from: {reason}", folder.display())]
    NoCheckpoint { folder: PathBuf, reason: Box<Self> },
    #[error("{}: its checkpoint is not from a run of `train`: {reason}", folder.display())]
    OtherCheckpoint { folder: PathBuf, reason: String },
    #[error(transparent)]
    Checkpoint(#[from] lightning::Error),
    #[error("{}: damaged: {begun} of {} begun", folder.display(), count(*epochs, "epoch"))]
    Damaged { folder: PathBuf, begun: usize, epochs: usize },
    #[error("{name} {now} conflicts with the run in {}, which used {then}", folder.display())]
    Conflict { folder: PathBuf, name: String, now: String, then: String },
    #[error("{} is less than the {begun} that the run in {} has begun", count(*epochs, "epoch"), folder.display())]
    FewerEpochs { folder: PathBuf, epochs: usize, begun: usize },
    #[error("without a GPU, CUDA's generator can draw for batches of at most {max} images, not {batch_size}")]
    BatchWithoutGpu { max: usize, batch_size: usize },
}
