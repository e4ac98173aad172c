//! `ISLP.torch.SimpleModule.classification` around layers whose parameters are those of a Python module.

use std::sync::Mutex;

use islp_mnist::torch::nn::{Flatten, ReLU, Sequential, dropout, sequential};
use islp_mnist::torch::optim::{Adam, AdamOptions, Optimizer, RmsProp, RmsPropOptions, Sgd, SgdOptions};
use islp_mnist::{islp, notebook::models::Model};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_tch::PyTensor;
use tch::nn::{Linear, Path, VarStore};
use tch::{Device, TchError, Tensor};

use crate::generator::Generator;
use crate::{error, lock};

/// A layer of a Python module.
#[derive(FromPyObject)]
enum Layer {
    /// Its name, weight and bias.
    Linear(String, PyTensor, Option<PyTensor>),
    /// `("Dropout", p)`.
    Dropout(String, f64),
    /// `"Flatten"` or `"ReLU"`.
    Plain(String),
}

/// The options of an optimizer by PyTorch's names; others than those of the optimizer are not there.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct OptimizerOptions {
    name: String,
    lr: f64,
    #[pyo3(default)]
    alpha: f64,
    #[pyo3(default)]
    eps: f64,
    #[pyo3(default)]
    weight_decay: f64,
    #[pyo3(default)]
    momentum: f64,
    #[pyo3(default)]
    centered: bool,
    #[pyo3(default)]
    maximize: bool,
    #[pyo3(default)]
    dampening: f64,
    #[pyo3(default)]
    nesterov: bool,
    #[pyo3(default)]
    betas: (f64, f64),
}

impl OptimizerOptions {
    fn optimizer(self, vs: &VarStore) -> PyResult<Box<dyn Optimizer>> {
        let Self { lr, alpha, eps, weight_decay, momentum, centered, maximize, .. } = self;
        let Self { dampening, nesterov, betas, .. } = self;
        let decoupled_weight_decay = self.name == "AdamW";
        Ok(match self.name.as_str() {
            "RMSprop" => {
                let options = RmsPropOptions { lr, alpha, eps, weight_decay, momentum, centered, maximize };
                Box::new(RmsProp::new(vs, options).map_err(error)?)
            }
            "SGD" => {
                let options = SgdOptions { lr, momentum, dampening, weight_decay, nesterov };
                Box::new(Sgd::new(vs, options).map_err(error)?)
            }
            "Adam" | "AdamW" => {
                let options = AdamOptions { lr, betas, eps, weight_decay, decoupled_weight_decay };
                Box::new(Adam::new(vs, options).map_err(error)?)
            }
            other => return Err(error(format!("{other} is not RMSprop, SGD, Adam or AdamW"))),
        })
    }
}

/// A linear layer in the storage of these parameters.
fn linear(vs: Path, weight: &PyTensor, bias: Option<&PyTensor>) -> Result<Linear, TchError> {
    let shared = |name, tensor: &PyTensor| -> Result<Tensor, TchError> {
        let mut parameter = vs.f_var_copy(name, tensor)?;
        parameter.f_set_data(&tensor.detach())?;
        Ok(parameter)
    };
    Ok(Linear { ws: shared("weight", weight)?, bs: bias.map(|bias| shared("bias", bias)).transpose()? })
}

fn model(vs: &VarStore, layers: Vec<Layer>, generator: &Generator) -> PyResult<Sequential> {
    let mut model = sequential();
    for layer in layers {
        model = match layer {
            Layer::Linear(name, weight, bias) => {
                // A model that is one layer has no name for it.
                let parts = name.split('.').filter(|part| !part.is_empty());
                let path = parts.fold(vs.root(), |path, part| path / part);
                model.add(linear(path, &weight, bias.as_ref()).map_err(error)?)
            }
            Layer::Dropout(name, p) if name == "Dropout" => {
                model.add(dropout(p, &generator.0).map_err(error)?)
            }
            Layer::Plain(name) if name == "Flatten" => model.add(Flatten),
            Layer::Plain(name) if name == "ReLU" => model.add(ReLU),
            Layer::Plain(name) | Layer::Dropout(name, _) => {
                return Err(error(format!("{name} is not Flatten, Linear, ReLU or Dropout")));
            }
        }
    }
    Ok(model)
}

#[pyclass(frozen, module = "islp_mnist")]
pub struct SimpleModule(pub Mutex<islp::SimpleModule>);

#[pymethods]
impl SimpleModule {
    /// The notebook's model "mlp" or "mlr", initialized by draws from the generator.
    #[staticmethod]
    #[pyo3(signature = (model, generator, lr=0.01))]
    fn classification(model: &str, generator: &Generator, lr: f64) -> PyResult<Self> {
        let vs = VarStore::new(Device::Cpu);
        let layers = model.parse::<Model>().map_err(error)?.build(&vs.root(), &generator.0).map_err(error)?;
        let module = islp::SimpleModule::classification(layers, vs, lr).map_err(error)?;
        Ok(Self(Mutex::new(module)))
    }

    /// These layers, one after the other. Their parameters share storage with the given ones.
    #[staticmethod]
    fn of(layers: Vec<Layer>, optimizer: OptimizerOptions, generator: &Generator) -> PyResult<Self> {
        let vs = VarStore::new(Device::Cpu);
        let model = model(&vs, layers, generator)?;
        let optimizer = optimizer.optimizer(&vs)?;
        Ok(Self(Mutex::new(islp::SimpleModule::with_optimizer(Box::new(model), vs, optimizer))))
    }

    fn forward(&self, py: Python, inputs: PyTensor, train: bool) -> PyResult<PyTensor> {
        let inputs = inputs.0;
        let logits = py.allow_threads(move || lock(&self.0).forward(&inputs, train));
        Ok(PyTensor(logits.map_err(error)?.detach()))
    }

    /// forward, loss, backward and the optimizer's step: the loss, the logits, and the gradients by parameter.
    #[allow(clippy::type_complexity)]
    fn training_step<'py>(
        &self,
        py: Python<'py>,
        inputs: PyTensor,
        labels: PyTensor,
    ) -> PyResult<(PyTensor, PyTensor, Bound<'py, PyDict>)> {
        let (inputs, labels) = (inputs.0, labels.0);
        // The autograd engine does not run while the GIL is held.
        let step = py.allow_threads(move || {
            let module = &mut *lock(&self.0);
            let logits = module.forward(&inputs, true)?;
            let loss = module.loss(&logits, &labels)?;
            let gradients = module.optimizer.gradients(&loss)?;
            module.optimizer.step(&gradients)?;
            Ok::<_, islp::Error>((loss.detach(), logits.detach(), gradients))
        });
        let (loss, logits, gradients) = step.map_err(error)?;
        let by_name = PyDict::new(py);
        for ((name, _), gradient) in lock(&self.0).optimizer.parameters().into_iter().zip(gradients) {
            by_name.set_item(name, PyTensor(gradient))?;
        }
        Ok((PyTensor(loss), PyTensor(logits), by_name))
    }

    /// The parameters by name; no copies.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, tensor) in lock(&self.0).state_dict() {
            dict.set_item(name, PyTensor(tensor.detach()))?;
        }
        Ok(dict)
    }

    /// The optimizer's states, such as `square_avg`: tensors by parameter; no copies.
    fn optimizer_states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let module = lock(&self.0);
        let names: Vec<&str> = module.optimizer.parameters().into_iter().map(|(name, _)| name).collect();
        let dict = PyDict::new(py);
        for (state, tensors) in module.optimizer.states() {
            let by_name = PyDict::new(py);
            for (name, tensor) in names.iter().zip(tensors) {
                by_name.set_item(name, PyTensor(tensor.shallow_clone()))?;
            }
            dict.set_item(state, by_name)?;
        }
        Ok(dict)
    }

    /// The optimizer's state is that after this number of steps.
    fn set_steps(&self, steps: usize) {
        lock(&self.0).optimizer.set_steps(steps);
    }
}
