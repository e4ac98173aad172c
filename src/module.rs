//! `ISLP.torch.SimpleModule.classification`: a model with its loss, its optimizer and its accuracy.

use anyhow::Result;
use tch::nn::VarStore;
use tch::{Kind, Reduction, TchError, Tensor};

use crate::layers::Layer;
use crate::rmsprop::RmsProp;
use crate::torch_error::caught;

/// What Lightning calls a module: everything a training step needs besides the data.
#[derive(Debug)]
pub struct SimpleModule {
    /// The layers.
    pub model: Box<dyn Layer>,
    /// The model's parameters by their Python names.
    pub vs: VarStore,
    /// Moves the parameters.
    pub optimizer: RmsProp,
}

impl SimpleModule {
    /// `SimpleModule.classification(model, num_classes, optimizer=RMSprop(model.parameters(), lr))`, for a model
    /// whose parameters lie in `vs`.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn classification(model: Box<dyn Layer>, vs: VarStore, lr: f64) -> Result<Self, TchError> {
        let optimizer = RmsProp::new(&vs, lr)?;
        Ok(Self { model, vs, optimizer })
    }

    /// The logits of inputs `[N, ...]`, `[N, C]`; with dropout if `train`.
    ///
    /// # Errors
    /// libtorch's, for inputs of a shape, kind or device that the model does not take.
    pub fn forward(&self, inputs: &Tensor, train: bool) -> Result<Tensor> {
        caught(|| self.model.forward_t(inputs, train))
    }

    /// The mean cross-entropy of logits `[N, C]` against labels `[N]` from 0 to C - 1, in nats, a scalar.
    ///
    /// # Errors
    /// libtorch's, for labels that don't fit the logits.
    pub fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, TchError> {
        logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
    }

    /// The fraction of correct predictions, a scalar; `torchmetrics.Accuracy('multiclass')`.
    ///
    /// # Errors
    /// libtorch's, for labels that don't fit the logits.
    pub fn accuracy(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, TchError> {
        let correct = logits.f_argmax(1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Int64)?;
        correct.f_to_kind(Kind::Float)?.f_div_scalar(labels.numel() as i64)
    }
}
