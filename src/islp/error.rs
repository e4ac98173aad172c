//! What goes wrong with a data module or a module.

use tch::{Device, Kind, TchError};

use crate::torch;
use crate::util::text::shown;

/// What is wrong with the data for a module, or with its state.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("a batch of no images")]
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
    #[error("{name} is of shape {size:?}, that of {model} of {expected:?}")]
    SizeMismatch { name: String, model: &'static str, size: Vec<i64>, expected: Vec<i64> },
    #[error("an input of {kind:?} on {device:?}, where the parameters are Float on {expected:?}")]
    Input { kind: Kind, device: Device, expected: Device },
    #[error("a label beyond the {classes} classes")]
    Label { classes: i64 },
    #[error(transparent)]
    Torch(#[from] torch::Error),
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        torch::Error::from(error).into()
    }
}
