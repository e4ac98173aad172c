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
    momentum: Tensor,
    /// 1-τ.
    weight: Tensor,
    weight_decay: Tensor,
    minus_lr: Tensor,
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
        Ok(Self {
            grad: parameters.zeros()?,
            momentum_buffer: parameters.zeros()?,
            momentum: parameters.scalar(options.momentum)?,
            weight: parameters.scalar(1.0 - options.dampening)?,
            weight_decay: parameters.scalar(options.weight_decay)?,
            minus_lr: parameters.scalar(-options.lr)?,
            steps: 0,
            options,
            parameters,
        })
    }

    fn update(&mut self) -> Result<(), TchError> {
        let Self { options, parameters, grad, momentum_buffer, steps, .. } = self;
        if options.weight_decay != 0.0 {
            parameters.penalize(grad, &self.weight_decay)?;
        }
        if options.momentum != 0.0 {
            let buffer = &mut momentum_buffer.all;
            if *steps == 0 {
                buffer.f_copy_(&grad.all)?;
            } else {
                let _ = buffer.f_mul_scalar_(options.momentum)?.f_addcmul_(&grad.all, &self.weight)?;
            }
        }
        if options.nesterov {
            let _ = grad.all.f_addcmul_(&momentum_buffer.all, &self.momentum)?;
        }
        let has_buffer = options.momentum != 0.0 && !options.nesterov;
        let direction = if has_buffer { momentum_buffer } else { grad };
        for (parameter, direction) in parameters.each().zip(&direction.parts) {
            let _ = parameter.f_addcmul_(direction, &self.minus_lr)?;
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

    fn steps(&self) -> Option<usize> {
        None
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
