//! `ISLP.torch`: the lab's data module, module and error tracker.

pub(crate) mod data_module;
pub(crate) mod error_tracker;
pub(crate) mod module;

use tch::{Device, Kind, TchError};

pub use data_module::SimpleDataModule;
pub use error_tracker::{ErrorTracker, Metrics};
pub use module::SimpleModule;

use crate::torch;
use crate::util::text::shown;

/// An error of a module, its state or its data.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("the batch size is 0")]
    BatchSize,
    #[error(
        "a validation fraction of {validation} leaves none of the {count} training images for validation"
    )]
    NoValidation { validation: f64, count: usize },
    #[error("a validation fraction of {validation} leaves none of the {count} images for training")]
    NoTraining { validation: f64, count: usize },
    #[error("{} is not a parameter of {model}", shown(name))]
    UnexpectedKey { name: String, model: &'static str },
    #[error("lacks {name} of {model}")]
    MissingKey { name: String, model: &'static str },
    #[error("{name} has shape {size:?}, but {expected:?} in {model}")]
    SizeMismatch { name: String, model: &'static str, size: Vec<i64>, expected: Vec<i64> },
    #[error("{name} is of kind {kind:?}, but {expected:?} in {model}")]
    KindMismatch { name: String, model: &'static str, kind: Kind, expected: Kind },
    #[error("the input is {kind:?} on {device:?}, but the parameters are Float on {expected:?}")]
    Input { kind: Kind, device: Device, expected: Device },
    #[error("a label is not one of the {classes} classes")]
    Label { classes: i64 },
    #[error(transparent)]
    Torch(#[from] torch::Error),
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        torch::Error::from(error).into()
    }
}
