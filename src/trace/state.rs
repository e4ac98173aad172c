//! The state between two steps of a training.

use std::collections::BTreeMap;

use tch::Tensor;
use tch::nn::VarStore;

use crate::torch;
use crate::torch::generator::Generator;
use crate::torch::optim::RmsProp;
use crate::trace::Error;

/// What a training has at a time, besides the batch.
///
/// ```
/// use islp_mnist::{torch::{Generator, optim::RmsProp}, trace::State};
/// use tch::{Device, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let _w = vs.root().var_copy("w", &Tensor::from_slice(&[1f32]));
/// let state = State::of(&vs, &RmsProp::new(&vs, 0.01)?, &Generator::new(0), 0);
/// assert_eq!((state.parameters[0].0.as_str(), state.optimizer.len()), ("w", 0));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct State {
    /// `named_parameters()`, in that order.
    pub parameters: Vec<(String, Tensor)>,
    /// The optimizer's state by the parameters' names: `("square_avg", ...)` of every parameter. In PyTorch there is none
    /// before the first step.
    pub optimizer: Vec<(&'static str, Vec<(String, Tensor)>)>,
    /// Those of the generators by their names, `("generator.state", ...)` as `torch.get_rng_state()` has it; none if they
    /// can't be read, as tch's own.
    pub generators: Vec<(&'static str, Vec<u8>)>,
}

impl State {
    /// Of a training with [`RmsProp`] that has taken so many steps. Parameters that it does not train are left out.
    pub fn of(vs: &VarStore, optimizer: &RmsProp, generator: &Generator, steps: usize) -> Self {
        // tch tells the parameters in the order in which they were made, and their names without one.
        let names: BTreeMap<_, _> =
            vs.variables().into_iter().map(|(name, tensor)| (tensor.data_ptr(), name)).collect();
        let by_name: BTreeMap<&str, &Tensor> = optimizer.square_avg().collect();
        let trained = |tensor: Tensor| {
            let name = names.get(&tensor.data_ptr())?;
            by_name.contains_key(name.as_str()).then(|| (name.clone(), tensor))
        };
        let parameters: Vec<_> = vs.trainable_variables().into_iter().filter_map(trained).collect();
        let square_avg =
            parameters.iter().map(|(name, _)| (name.clone(), by_name[name.as_str()].shallow_clone()));
        Self {
            optimizer: if steps == 0 { vec![] } else { vec![("square_avg", square_avg.collect())] },
            parameters,
            generators: generator.states(vs.device()),
        }
    }

    /// In the order in which a step changes them, by their names in a checkpoint.
    pub(super) fn tensors(&self) -> Result<Vec<(String, Tensor)>, Error> {
        let mut tensors = vec![];
        for (state, of_parameters) in &self.optimizer {
            for (name, tensor) in of_parameters {
                tensors.push((format!("optimizer.{state}.{name}"), tensor.shallow_clone()));
            }
        }
        tensors.extend(self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
        for (name, state) in &self.generators {
            let state = Tensor::f_from_slice(state).map_err(torch::Error::from)?;
            tensors.push((name.to_string(), state));
        }
        Ok(tensors)
    }
}
