//! The state of a training between two steps, and a sketch of its parameters.
//!
//! A sketch has 64 numbers. The distance of two sketches estimates the distance of all parameters (Charikar, Chen and
//! Farach-Colton 2002, "Finding frequent items in data streams").

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

use crate::torch::optim::RmsProp;
use crate::torch::state_dict::bytes;
use crate::torch::{Error, Generator};

/// Numbers in a sketch. The standard deviation of the estimate is 1 / √(2 · 64) of the distance, 9 %.
const LENGTH: usize = 64;

/// The state of a training between two steps.
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
    /// The optimizer's state by the parameters' names, `("square_avg", ...)`. Empty before the first step, as in PyTorch.
    pub optimizer: Vec<(&'static str, Vec<(String, Tensor)>)>,
    /// The generators' states by name, `("generator.state", ...)` in the form of `torch.get_rng_state()`. Empty for
    /// generators whose state can't be read, such as tch's own.
    pub generators: Vec<(&'static str, Vec<u8>)>,
}

impl State {
    /// The state of a training with [`RmsProp`] after `steps` steps, without parameters that it does not train.
    pub fn of(vs: &VarStore, optimizer: &RmsProp, generator: &Generator, steps: usize) -> Self {
        // tch returns parameters in the order of their creation only without names.
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

/// A sign for every parameter, the same in every trace: `2 * bernoulli(0.5) - 1`, drawn from a generator with seed 0.
#[derive(Debug)]
pub struct Signs(Tensor);

impl Default for Signs {
    fn default() -> Self {
        Self(Tensor::zeros([0], (Kind::Double, Device::Cpu)))
    }
}

impl Signs {
    /// The sketch of the parameters, as bytes of f64. All values, in the order of the parameters' names, are multiplied by
    /// their signs; number i is the sum of every 64th from the i-th.
    pub fn sketch(&mut self, parameters: &[(String, Tensor)]) -> Result<Vec<u8>, Error> {
        let by_name: BTreeMap<&String, &Tensor> =
            parameters.iter().map(|(name, tensor)| (name, tensor)).collect();
        no_grad(|| {
            // Without parameters, there would be nothing to concatenate.
            let mut flat = vec![Tensor::f_zeros([0], (Kind::Double, Device::Cpu))?];
            for tensor in by_name.values() {
                flat.push(
                    tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_reshape(-1)?,
                );
            }
            let mut all = Tensor::f_cat(&flat, 0)?;
            let count = all.numel();
            let _ = all.f_mul_(self.first(count)?)?;
            let padded = all.f_constant_pad_nd([0, (count.next_multiple_of(LENGTH) - count) as i64])?;
            let sums = padded.f_view([-1, LENGTH as i64])?.f_sum_dim_intlist(
                [0i64].as_slice(),
                false,
                Kind::Double,
            )?;
            Ok(bytes(&sums)?)
        })
    }

    /// The first `count` signs.
    fn first(&mut self, count: usize) -> Result<&Tensor, Error> {
        if self.0.numel() != count {
            let drawn = Tensor::f_from_slice(&Generator::new(0).bernoulli(count, 0.5))?;
            self.0 = drawn.f_to_kind(Kind::Double)?.f_mul_scalar_(2.0)?.f_sub_scalar_(1.0)?;
        }
        Ok(&self.0)
    }
}

/// Estimates the distance of two trainings' parameters from their sketches in base64. None if a sketch has another length
/// or the distance is not finite.
pub fn distance(a: &str, b: &str) -> Option<f64> {
    let [a, b] = [a, b].map(|sketch| STANDARD.decode(sketch).ok().filter(|bytes| bytes.len() == 8 * LENGTH));
    let (a, b) = (a?, b?);
    let numbers =
        |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect::<Vec<_>>();
    let squares = numbers(&a).into_iter().zip(numbers(&b)).map(|(a, b)| (a - b).powi(2));
    Some(squares.sum::<f64>().sqrt()).filter(|distance| distance.is_finite())
}
