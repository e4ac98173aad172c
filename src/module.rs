//! `ISLP.torch.SimpleModule.classification`: a model with its loss, its optimizer and its accuracy.

use tch::nn::VarStore;
use tch::{Kind, Reduction, Tensor};

use crate::model::Layer;
use crate::rmsprop::RmsProp;

/// What Lightning calls a module: everything a training step needs besides the data.
#[derive(Debug)]
pub struct SimpleModule {
    pub model: Box<dyn Layer>,
    /// The model's parameters by their Python names.
    pub vs: VarStore,
    pub optimizer: RmsProp,
}

impl SimpleModule {
    /// `SimpleModule.classification(model, num_classes, optimizer=RMSprop(model.parameters(), lr))`.
    pub fn classification(model: impl Layer + 'static, vs: VarStore, lr: f64) -> Self {
        let optimizer = RmsProp::new(vs.trainable_variables(), lr);
        Self { model: Box::new(model), vs, optimizer }
    }

    /// The mean cross-entropy of logits `[N, C]` against labels `[N]`, a scalar.
    pub fn loss(&self, logits: &Tensor, labels: &Tensor) -> Tensor {
        logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
    }

    /// The fraction of correct predictions, a scalar; `torchmetrics.Accuracy('multiclass')`.
    pub fn accuracy(&self, logits: &Tensor, labels: &Tensor) -> Tensor {
        let correct = logits.argmax(1, false).eq_tensor(labels).sum(Kind::Int64);
        correct.to_kind(Kind::Float) / labels.size()[0]
    }
}
