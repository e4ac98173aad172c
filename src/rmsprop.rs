//! `torch.optim.RMSprop` without momentum, from tensor operations as in `_single_tensor_rmsprop`:
//!
//! v ← α·v + (1-α)·g², θ ← θ - lr·g / (√v + ε)

use tch::nn::VarStore;
use tch::{TchError, Tensor, no_grad};

const ALPHA: f64 = 0.99;
const EPS: f64 = 1e-8;

/// The optimizer of a model's parameters, with α = 0.99 and ε = 1e-8, PyTorch's defaults.
#[derive(Debug)]
pub struct RmsProp {
    lr: f64,
    state: Vec<State>,
}

#[derive(Debug)]
struct State {
    name: String,
    parameter: Tensor,
    square_avg: Tensor,
}

impl RmsProp {
    /// `RMSprop(model.parameters(), lr=lr)` for the model whose parameters lie in `vs`.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn new(vs: &VarStore, lr: f64) -> Result<Self, TchError> {
        // MKL settles on a kernel for its square root at the first call. If that comes from two threads at once, one
        // may get a coarser kernel, and the weights differ from run to run: pytorch/pytorch#188792. One element is
        // one thread's.
        let _ = Tensor::f_from_slice(&[1f32])?.f_sqrt()?;
        let mut parameters: Vec<_> = vs.variables().into_iter().collect();
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        let state = parameters.into_iter().filter(|(_, parameter)| parameter.requires_grad());
        let state = state.map(|(name, parameter)| {
            Ok(State { name, square_avg: parameter.detach().f_zeros_like()?, parameter })
        });
        Ok(Self { lr, state: state.collect::<Result<_, TchError>>()? })
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// v of every parameter by the parameter's name, of its shape.
    pub fn square_avg(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.state.iter().map(|state| (state.name.as_str(), &state.square_avg))
    }

    /// v of every parameter, to be set; `optimizer.load_state_dict`.
    pub fn square_avg_mut(&mut self) -> impl Iterator<Item = (&str, &mut Tensor)> {
        self.state.iter_mut().map(|state| (state.name.as_str(), &mut state.square_avg))
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) {
        for state in &mut self.state {
            state.parameter.zero_grad();
        }
    }

    /// Moves every parameter that has a gradient by it.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn step(&mut self) -> Result<(), TchError> {
        no_grad(|| {
            for State { parameter, square_avg: v, .. } in &mut self.state {
                let grad = parameter.f_grad()?;
                if !grad.defined() {
                    continue;
                }
                // tch's addcmul_ and addcdiv_ lack the scalar `value`. ATen multiplies it with the first factor
                // before anything else, so doing that beforehand rounds alike.
                let _ = v.f_mul_scalar_(ALPHA)?;
                let _ = v.f_addcmul_(&grad.f_mul_scalar(1.0 - ALPHA)?, &grad)?;
                let avg = v.f_sqrt()?.f_add_scalar_(EPS)?;
                let _ = parameter.f_addcdiv_(&grad.f_mul_scalar(-self.lr)?, &avg)?;
            }
            Ok(())
        })
    }
}
