//! The notebook's two models, built from the layers in [`torch::nn`](crate::torch::nn).
//!
//! Parameters have their names in Python's `state_dict()`. Inputs are `[N, 1, 28, 28]`, outputs the logits `[N, 10]`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::nn::Path;

use crate::torch::nn::{Container, Flatten, Layer, ReLU, container, dropout, linear, sequential};
use crate::torch::{Error, Generator};

/// One of the two models.
///
/// ```
/// use islp_mnist::{notebook::models::Model, torch::Generator};
/// use tch::{Device, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let model = "mlp".parse::<Model>().unwrap().build(&vs.root(), &Generator::new(0))?;
/// assert_eq!(model.info().num_params(), 235_146);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// The multilayer perceptron, [`mnist_model`].
    Mlp,
    /// Multinomial logistic regression, [`mnist_mlr`].
    Mlr,
}

impl Model {
    /// Both models.
    pub const ALL: [Self; 2] = [Self::Mlp, Self::Mlr];

    /// Builds the model below `vs`, initialized with draws from `generator`.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn build(self, vs: &Path, generator: &Generator) -> Result<Box<dyn Layer>, Error> {
        Ok(match self {
            Self::Mlp => Box::new(mnist_model(vs, generator)?),
            Self::Mlr => Box::new(mnist_mlr(vs, generator)?),
        })
    }

    /// The name of the model's class in the notebook.
    pub(crate) fn class_name(self) -> &'static str {
        match self {
            Self::Mlp => "MNISTModel",
            Self::Mlr => "MNIST_MLR",
        }
    }

    /// True if the model has dropout layers.
    pub fn has_dropout(self) -> bool {
        self.dropped_units() > 0
    }

    /// Units of the widest dropout layer; 0 if there is none.
    pub fn dropped_units(self) -> usize {
        match self {
            Self::Mlp => 256,
            Self::Mlr => 0,
        }
    }

    /// The short name, `mlp` or `mlr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Mlr => "mlr",
        }
    }

    /// The name of the model's runs in the notebook.
    pub fn run_name(self) -> &'static str {
        match self {
            Self::Mlp => "MNIST",
            Self::Mlr => "MNIST_MLR",
        }
    }
}

impl Display for Model {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|model| model.name() == text).ok_or("must be mlp or mlr")
    }
}

/// The notebook's `MNISTModel` below `vs`: two hidden layers of 256 and 128 units, initialized with draws from `generator`.
/// Its dropout layers draw from it too.
///
/// # Errors
/// Fails if memory is short.
pub fn mnist_model(vs: &Path, generator: &Generator) -> Result<Container, Error> {
    let layer1 = sequential()
        .add(Flatten)
        .add(linear(vs / "layer1" / "1", 28 * 28, 256, generator)?)
        .add(ReLU)
        .add(dropout(0.4, generator)?)
        .named("layer1");
    let layer2 = sequential()
        .add(linear(vs / "layer2" / "0", 256, 128, generator)?)
        .add(ReLU)
        .add(dropout(0.3, generator)?)
        .named("layer2");
    let forward = sequential()
        .add(layer1)
        .add(layer2)
        .add(linear(vs / "_forward" / "2", 128, 10, generator)?)
        .named("_forward");
    Ok(container(Model::Mlp.class_name(), forward))
}

/// The notebook's `MNIST_MLR` below `vs`, multinomial logistic regression: one linear layer, initialized with draws from
/// `generator`.
///
/// # Errors
/// Fails if memory is short.
pub fn mnist_mlr(vs: &Path, generator: &Generator) -> Result<Container, Error> {
    let linear =
        sequential().add(Flatten).add(linear(vs / "linear" / "1", 784, 10, generator)?).named("linear");
    Ok(container(Model::Mlr.class_name(), linear))
}
