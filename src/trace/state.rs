//! The state of a training between two steps.

use std::collections::BTreeMap;

use tch::Tensor;
use tch::nn::VarStore;

use crate::torch::optim::Optimizer;
use crate::torch::{Error, Generator};

/// The state of a training between two steps.
///
/// ```
/// use islp_mnist::{torch::{Generator, optim::{RmsProp, RmsPropOptions}}, trace::State};
/// use tch::{Device, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let _w = vs.root().var_copy("w", &Tensor::from_slice(&[1f32]));
/// let state = State::of(&vs, &RmsProp::new(&vs, RmsPropOptions::default())?, &Generator::new(0), 0);
/// assert_eq!((state.parameters[0].0.as_str(), state.optimizer.len()), ("w", 0));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct State {
    /// `named_parameters()`, in that order.
    pub parameters: Vec<(String, Tensor)>,
    /// The optimizer's state by the parameters' names, `("square_avg", ...)`. Empty before the first step, as in PyTorch.
    pub optimizer: Vec<(&'static str, Vec<(String, Tensor)>)>,
    /// The generators' states by name, `("generator.state", ...)` in the form of `torch.get_rng_state()`. Empty for
    /// generators whose state can't be read, such as tch's own.
    pub generators: Vec<(&'static str, Vec<u8>)>,
}

impl State {
    /// The state of a training after `steps` steps, without parameters that the optimizer does not train.
    pub fn of(vs: &VarStore, optimizer: &dyn Optimizer, generator: &Generator, steps: usize) -> Self {
        // tch returns parameters in the order of their creation only without names.
        let names: BTreeMap<_, _> =
            vs.variables().into_iter().map(|(name, tensor)| (tensor.data_ptr(), name)).collect();
        let places: BTreeMap<&str, usize> =
            optimizer.parameters().iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();
        let trained = |tensor: Tensor| {
            let name = names.get(&tensor.data_ptr())?;
            places.contains_key(name.as_str()).then(|| (name.clone(), tensor))
        };
        let parameters: Vec<_> = vs.trainable_variables().into_iter().filter_map(trained).collect();
        let states = if steps == 0 { vec![] } else { optimizer.states() };
        let in_order = |(state, tensors): (&'static str, Vec<&Tensor>)| {
            let named = parameters
                .iter()
                .map(|(name, _)| (name.clone(), tensors[places[name.as_str()]].shallow_clone()));
            (state, named.collect())
        };
        Self {
            optimizer: states.into_iter().map(in_order).collect(),
            parameters,
            generators: generator.states(vs.device()),
        }
    }

    /// All tensors by their names in a checkpoint, in the order in which a step changes them.
    pub(super) fn tensors(&self) -> Result<Vec<(String, Tensor)>, Error> {
        let mut tensors = vec![];
        for (state, of_parameters) in &self.optimizer {
            for (name, tensor) in of_parameters {
                tensors.push((format!("optimizer.{state}.{name}"), tensor.shallow_clone()));
            }
        }
        tensors.extend(self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
        for (name, state) in &self.generators {
            let state = Tensor::f_from_slice(state)?;
            tensors.push((name.to_string(), state));
        }
        Ok(tensors)
    }
}
