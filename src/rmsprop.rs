//! `torch.optim.RMSprop` without momentum, from tensor operations as in `_single_tensor_rmsprop`:
//!
//! v ← α·v + (1-α)·g², θ ← θ - lr·g / (√v + ε)

use tch::{Tensor, no_grad};

const ALPHA: f64 = 0.99;
const EPS: f64 = 1e-8;

/// The optimizer over a list of parameters, with α = 0.99 and ε = 1e-8, PyTorch's defaults.
#[derive(Debug)]
pub struct RmsProp {
    lr: f64,
    parameters: Vec<Tensor>,
    /// v, one for each parameter, of its shape.
    square_avg: Vec<Tensor>,
}

impl RmsProp {
    /// `RMSprop(parameters, lr=lr)`.
    pub fn new(parameters: Vec<Tensor>, lr: f64) -> Self {
        // MKL settles on a kernel for its square root at the first call. If that comes from two threads at once, one
        // may get a coarser kernel, and the weights differ from run to run: pytorch/pytorch#188792. One element is
        // one thread's.
        let _ = Tensor::from(1f32).sqrt();
        let square_avg = parameters.iter().map(Tensor::zeros_like).collect();
        Self { lr, parameters, square_avg }
    }

    /// v of every parameter, in the parameters' order.
    pub fn square_avg(&self) -> &[Tensor] {
        &self.square_avg
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) {
        for parameter in &mut self.parameters {
            parameter.zero_grad();
        }
    }

    /// Moves every parameter by its gradient.
    pub fn step(&mut self) {
        no_grad(|| {
            for (parameter, v) in self.parameters.iter_mut().zip(&mut self.square_avg) {
                let grad = parameter.grad();
                // tch's addcmul_ and addcdiv_ lack the scalar `value`. ATen multiplies it with the first factor
                // before anything else, so doing that beforehand rounds alike.
                let _ = v.g_mul_scalar_(ALPHA);
                let _ = v.addcmul_(&(&grad * (1.0 - ALPHA)), &grad);
                let avg = v.sqrt().g_add_scalar_(EPS);
                let _ = parameter.addcdiv_(&(grad * -self.lr), &avg);
            }
        });
    }
}
