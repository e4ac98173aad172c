//! `torch.optim.SGD`, from tensor operations as in `_single_tensor_sgd`:
//!
//! g ← g + λ·θ, b ← μ·b + (1-τ)·g, θ ← θ - lr·b, or with Nesterov's momentum θ ← θ - lr·(g + μ·b)

use tch::nn::VarStore;
use tch::{TchError, Tensor, no_grad};

use super::{Flat, Optimizer, Parameters};
use crate::torch::Error;

/// The options of [`Sgd`], with PyTorch's names and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdOptions {
    /// The learning rate.
    pub lr: f64,
    /// The factor μ of the momentum; 0 for none.
    pub momentum: f64,
    /// τ, by which the gradient counts less in the momentum.
    pub dampening: f64,
    /// λ, the L2 penalty.
    pub weight_decay: f64,
    /// Nesterov's momentum; needs a momentum and no dampening.
    pub nesterov: bool,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// Stochastic gradient descent.
///
/// ```
/// use islp_mnist::torch::optim::{Optimizer, Sgd, SgdOptions};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let x = vs.root().var_copy("x", &Tensor::from_slice(&[1f32, -1.0]));
/// let mut optimizer = Sgd::new(&vs, SgdOptions { lr: 0.125, momentum: 0.5, ..SgdOptions::default() })?;
/// for _ in 0..2 {
///     let gradients = optimizer.gradients(&x.square().sum(Kind::Float))?;
///     optimizer.step(&gradients)?;
/// }
/// assert_eq!(Vec::<f32>::try_from(&x).unwrap(), [0.4375, -0.4375]);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct Sgd {
    options: SgdOptions,
    parameters: Parameters,
    grad: Flat,
    momentum_buffer: Flat,
    steps: usize,
}

impl Sgd {
    /// `SGD(model.parameters(), ...)` for the model whose parameters are in `vs`.
    ///
    /// # Errors
    /// Fails if memory is short, or for Nesterov's momentum without a momentum or with dampening.
    pub fn new(vs: &VarStore, options: SgdOptions) -> Result<Self, Error> {
        if options.nesterov && (options.momentum <= 0.0 || options.dampening != 0.0) {
            return Err(Error::Nesterov);
        }
        let parameters = Parameters::of(vs);
        let (grad, momentum_buffer) = (parameters.zeros()?, parameters.zeros()?);
        Ok(Self { options, parameters, grad, momentum_buffer, steps: 0 })
    }

    fn update(&mut self) -> Result<(), TchError> {
        let Self { options, parameters, grad, momentum_buffer, steps } = self;
        let SgdOptions { lr, momentum, dampening, weight_decay, nesterov } = *options;
        if weight_decay != 0.0 {
            let weight_decay = parameters.scalar(weight_decay)?;
            for (parameter, grad) in parameters.each().zip(&mut grad.parts) {
                let _ = grad.f_addcmul_(parameter, &weight_decay)?;
            }
        }
        let mut direction = &*grad;
        if momentum != 0.0 {
            let buffer = &mut momentum_buffer.all;
            if *steps == 0 {
                buffer.f_copy_(&grad.all)?;
            } else {
                let _ = buffer
                    .f_mul_scalar_(momentum)?
                    .f_addcmul_(&grad.all, &parameters.scalar(1.0 - dampening)?)?;
            }
            if nesterov {
                let _ = grad.all.f_addcmul_(&momentum_buffer.all, &parameters.scalar(momentum)?)?;
                direction = &*grad;
            } else {
                direction = &*momentum_buffer;
            }
        }
        let minus_lr = parameters.scalar(-lr)?;
        for (parameter, direction) in parameters.each().zip(&direction.parts) {
            let _ = parameter.f_addcmul_(direction, &minus_lr)?;
        }
        *steps += 1;
        Ok(())
    }
}

impl Optimizer for Sgd {
    fn lr(&self) -> f64 {
        self.options.lr
    }

    fn parameters(&self) -> Vec<(&str, &Tensor)> {
        self.parameters.named()
    }

    fn states(&self) -> Vec<(&'static str, Vec<&Tensor>)> {
        match self.options.momentum {
            0.0 => vec![],
            _ => vec![("momentum_buffer", self.momentum_buffer.each())],
        }
    }

    fn set_steps(&mut self, steps: usize) {
        self.steps = steps;
    }

    fn step(&mut self, gradients: &[Tensor]) -> Result<(), Error> {
        no_grad(|| {
            self.grad.concatenate(gradients)?;
            Ok(self.update()?)
        })
    }
}
