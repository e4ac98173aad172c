//! What goes wrong with a data module or a module.

use tch::{Device, Kind, TchError};

use crate::torch;

/// What is wrong with the data for a module, or with its state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A batch size of 0.
    #[error("a batch of no images")]
    BatchSize,
    /// A fraction that holds no image back.
    #[error(
        "a validation fraction of {validation} leaves none of the {count} training images for validation"
    )]
    NoValidation {
        /// The fraction for validation.
        validation: f64,
        /// How many images there are.
        count: usize,
    },
    /// A fraction that holds all images back.
    #[error("a validation fraction of {validation} leaves none of the {count} images for training")]
    NoTraining {
        /// The fraction for validation.
        validation: f64,
        /// How many images there are.
        count: usize,
    },
    /// A tensor that the module has no parameter for.
    #[error("{name} is no parameter of {model}")]
    UnexpectedKey {
        /// The tensor's name.
        name: String,
        /// The class name of the module's model.
        model: &'static str,
    },
    /// A parameter without a tensor.
    #[error("lacks {name} of {model}")]
    MissingKey {
        /// The parameter's name.
        name: String,
        /// The class name of the module's model.
        model: &'static str,
    },
    /// A tensor of another shape than the parameter's.
    #[error("{name} is of shape {size:?}, that of {model} of {expected:?}")]
    SizeMismatch {
        /// The parameter's name.
        name: String,
        /// The class name of the module's model.
        model: &'static str,
        /// The tensor's shape.
        size: Vec<i64>,
        /// The parameter's shape.
        expected: Vec<i64>,
    },
    /// An input of another kind or on another device than the parameters.
    #[error("an input of {kind:?} on {device:?}, where the parameters are Float on {expected:?}")]
    Input {
        /// The input's kind.
        kind: Kind,
        /// Where the input lies.
        device: Device,
        /// Where the parameters lie.
        expected: Device,
    },
    /// A label beyond the classes.
    #[error("a label beyond the {classes} classes")]
    Label {
        /// How many classes there are.
        classes: i64,
    },
    /// Tensors that don't go together, or short memory.
    #[error(transparent)]
    Torch(#[from] torch::Error),
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        torch::Error::from(error).into()
    }
}
