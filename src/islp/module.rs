//! `ISLP.torch.SimpleModule.classification`: a model with its loss, optimizer and accuracy.

use std::collections::BTreeMap;

use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use super::Error;
use crate::torch::error::caught;
use crate::torch::nn::{Layer, LayerInfo};
use crate::torch::optim::{Optimizer, RmsProp, RmsPropOptions};
use crate::torch::state_dict::names;

/// A module in Lightning's sense: everything a training step needs except the data.
///
/// ```
/// use islp_mnist::{islp::SimpleModule, notebook::models::mnist_mlr, torch::Generator};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let model = mnist_mlr(&vs.root(), &Generator::new(0))?;
/// let mut module = SimpleModule::classification(Box::new(model), vs, 0.01)?;
/// let images = Tensor::rand([8, 1, 28, 28], (Kind::Float, Device::Cpu));
/// let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 5, 6, 7]);
///
/// let loss = module.loss(&module.forward(&images, true)?, &labels)?;
/// let gradients = module.optimizer.gradients(&loss)?;
/// module.optimizer.step(&gradients)?;
/// let after = module.loss(&module.forward(&images, false)?, &labels)?;
/// assert!(after.double_value(&[]) < loss.double_value(&[]));
/// # Ok::<(), islp_mnist::islp::Error>(())
/// ```
#[derive(Debug)]
pub struct SimpleModule {
    /// The layers.
    pub model: Box<dyn Layer>,
    /// The model's parameters by their Python names.
    pub vs: VarStore,
    /// Updates the parameters.
    pub optimizer: Box<dyn Optimizer>,
    info: LayerInfo,
}

impl SimpleModule {
    /// `SimpleModule.classification(model, num_classes, optimizer=RMSprop(model.parameters(), lr))`; `vs` contains the
    /// model's parameters.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn classification(model: Box<dyn Layer>, vs: VarStore, lr: f64) -> Result<Self, Error> {
        let optimizer = Box::new(RmsProp::new(&vs, RmsPropOptions { lr, ..RmsPropOptions::default() })?);
        Ok(Self::with_optimizer(model, vs, optimizer))
    }

    /// `SimpleModule.classification(model, num_classes, optimizer=optimizer)`.
    pub fn with_optimizer(model: Box<dyn Layer>, vs: VarStore, optimizer: Box<dyn Optimizer>) -> Self {
        let info = model.info();
        Self { model, vs, optimizer, info }
    }

    /// The logits `[N, C]` of inputs `[N, ...]`, with dropout if `train`.
    ///
    /// # Errors
    /// Fails if the model does not take inputs of this shape, kind or device, or memory is short.
    pub fn forward(&self, inputs: &Tensor, train: bool) -> Result<Tensor, Error> {
        // tch's `forward_t` panics on libtorch's errors, so inputs are checked before.
        self.info.output_size(&inputs.size())?;
        let (kind, device, expected) = (inputs.kind(), inputs.device(), self.vs.device());
        if kind != Kind::Float || device != expected {
            return Err(Error::Input { kind, device, expected });
        }
        Ok(caught(|| self.model.forward_t(inputs, train))?)
    }

    /// The mean cross-entropy of logits `[N, C]` against labels `[N]` from 0 to C - 1, in nats, a scalar.
    ///
    /// # Errors
    /// Fails if the labels don't match the logits.
    pub fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        Ok(logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)?)
    }

    /// The fraction of correct predictions, a scalar on the CPU; `torchmetrics.Accuracy('multiclass')`.
    ///
    /// # Errors
    /// Fails if the labels don't match the logits.
    pub fn accuracy(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        // ISLP computes its metrics on the CPU. A GPU would multiply by 1 / n, which rounds differently.
        let (logits, labels) = (logits.f_to_device(Device::Cpu)?, labels.f_to_device(Device::Cpu)?);
        let correct = logits.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?;
        Ok(correct.f_to_kind(Kind::Float)?.f_div_scalar(labels.numel() as i64)?)
    }

    /// The parameters by their names, `model.state_dict()`. They share storage with the module's.
    pub fn state_dict(&self) -> BTreeMap<String, Tensor> {
        self.vs.variables().into_iter().collect()
    }

    /// Sets the parameters, `model.load_state_dict(tensors)`. A wrapper's prefix of every name, such as `module.` in Python,
    /// is ignored.
    ///
    /// # Errors
    /// Fails if names, shapes or kinds differ from the module's parameters, and then changes nothing.
    pub fn load_state_dict(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        let model = self.info.class_name;
        let mut parameters = self.state_dict();
        // All names of a map lose the same prefix, so they stay distinct.
        let [theirs, ours] = [tensors, &parameters].map(|named| names::wrapper(named.keys()).to_owned());
        let own = |name: &str| format!("{ours}{}", &name[theirs.len()..]);
        let given = |name: &str| format!("{theirs}{}", &name[ours.len()..]);
        for (name, tensor) in tensors {
            let Some(parameter) = parameters.get(&own(name)) else {
                return Err(Error::UnexpectedKey { name: name.clone(), model });
            };
            let name = name.clone();
            let (size, expected) = (tensor.size(), parameter.size());
            if size != expected {
                return Err(Error::SizeMismatch { name, model, size, expected });
            }
            let (kind, expected) = (tensor.kind(), parameter.kind());
            if kind != expected {
                return Err(Error::KindMismatch { name, model, kind, expected });
            }
        }
        if let Some(name) = parameters.keys().find(|name| !tensors.contains_key(&given(name))) {
            return Err(Error::MissingKey { name: name.clone(), model });
        }
        for (name, parameter) in &mut parameters {
            no_grad(|| parameter.f_copy_(&tensors[&given(name)]))?;
        }
        Ok(())
    }
}
