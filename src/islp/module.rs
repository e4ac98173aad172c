//! `ISLP.torch.SimpleModule.classification`: a model with its loss, its optimizer and its accuracy.

use std::collections::BTreeMap;

use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use crate::islp::Error;
use crate::torch::error::caught;
use crate::torch::nn::{Layer, LayerInfo};
use crate::torch::optim::RmsProp;
use crate::torch::state_dict::names;

/// What Lightning calls a module: everything a training step needs besides the data.
///
/// ```
/// use islp_mnist::{islp::SimpleModule, notebook::models::MnistMlr, torch::Generator};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let model = MnistMlr::new(&vs.root(), &Generator::new(0))?;
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
    /// Moves the parameters.
    pub optimizer: RmsProp,
    info: LayerInfo,
}

impl SimpleModule {
    /// `SimpleModule.classification(model, num_classes, optimizer=RMSprop(model.parameters(), lr))`, for a model
    /// whose parameters lie in `vs`.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn classification(model: Box<dyn Layer>, vs: VarStore, lr: f64) -> Result<Self, Error> {
        let (optimizer, info) = (RmsProp::new(&vs, lr)?, model.info());
        Ok(Self { model, vs, optimizer, info })
    }

    /// The logits of inputs `[N, ...]`, `[N, C]`; with dropout if `train`.
    ///
    /// # Errors
    /// Inputs of a shape, kind or device that the model does not take, or short memory.
    pub fn forward(&self, inputs: &Tensor, train: bool) -> Result<Tensor, Error> {
        // tch's `forward_t` panics where libtorch refuses, so what the layers don't take is refused before.
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
    /// libtorch's, for labels that don't fit the logits.
    pub fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        Ok(logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)?)
    }

    /// The fraction of correct predictions, a scalar; `torchmetrics.Accuracy('multiclass')`. On the CPU,
    /// whatever the device.
    ///
    /// # Errors
    /// libtorch's, for labels that don't fit the logits.
    pub fn accuracy(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        // On the CPU, as ISLP's metrics are: a GPU multiplies with 1 / n, which rounds otherwise.
        let (logits, labels) = (logits.f_to_device(Device::Cpu)?, labels.f_to_device(Device::Cpu)?);
        let correct = logits.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?;
        Ok(correct.f_to_kind(Kind::Float)?.f_div_scalar(labels.numel() as i64)?)
    }

    /// The parameters by their names, `model.state_dict()`. They are the module's own, no copies.
    pub fn state_dict(&self) -> BTreeMap<String, Tensor> {
        self.vs.variables().into_iter().collect()
    }

    /// Gives the parameters these values, `model.load_state_dict(tensors)`. What wraps a model in Python, such as `module.`
    /// before every name, does not count.
    ///
    /// # Errors
    /// Not just the module's parameters, or not of their shapes. Nothing has changed then.
    pub fn load_state_dict(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        let model = self.info.class_name;
        let mut parameters = self.state_dict();
        // No two of a map's names become one where all lose the same beginning.
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
