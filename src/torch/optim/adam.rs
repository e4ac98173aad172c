//! `torch.optim.Adam` and `AdamW` without amsgrad, from tensor operations as in `_single_tensor_adam`:
//!
//! m ← m + (1-β₁)·(g - m), v ← β₂·v + (1-β₂)·g², θ ← θ - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)

use tch::nn::VarStore;
use tch::{TchError, Tensor, no_grad};

use super::rmsprop::choose_square_root;
use super::{Flat, Optimizer, Parameters};
use crate::torch::Error;

/// The options of [`Adam`], with PyTorch's names and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamOptions {
    /// The learning rate.
    pub lr: f64,
    /// β₁ and β₂, the decay of the two averages.
    pub betas: (f64, f64),
    /// ε, which keeps the divisor from 0.
    pub eps: f64,
    /// The L2 penalty, or the decay of the weights.
    pub weight_decay: f64,
    /// True in AdamW: every step shrinks the weights by lr · `weight_decay`, instead of adding a penalty to the gradients.
    pub decoupled_weight_decay: bool,
}

impl Default for AdamOptions {
    fn default() -> Self {
        let betas = (0.9, 0.999);
        Self { lr: 1e-3, betas, eps: 1e-8, weight_decay: 0.0, decoupled_weight_decay: false }
    }
}

impl AdamOptions {
    /// The defaults of `AdamW`.
    pub fn adam_w() -> Self {
        Self { weight_decay: 1e-2, decoupled_weight_decay: true, ..Self::default() }
    }
}

/// Adam, or AdamW with [`AdamOptions::adam_w`].
///
/// ```
/// use islp_mnist::torch::optim::{Adam, AdamOptions, Optimizer};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let x = vs.root().var_copy("x", &Tensor::from_slice(&[1f32, -1.0]));
/// let mut optimizer = Adam::new(&vs, AdamOptions { lr: 0.25, ..AdamOptions::adam_w() })?;
/// let gradients = optimizer.gradients(&x.square().sum(Kind::Float))?;
/// optimizer.step(&gradients)?;
/// assert!(x.allclose(&Tensor::from_slice(&[0.7475f32, -0.7475]), 1e-6, 0.0, false));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct Adam {
    options: AdamOptions,
    parameters: Parameters,
    grad: Flat,
    exp_avg: Flat,
    exp_avg_sq: Flat,
    /// (1-β₂)·g, then √v/√(1-β₂ᵗ) + ε.
    denom: Flat,
    /// 1-β₂.
    weight: Tensor,
    weight_decay: Tensor,
    steps: usize,
}

impl Adam {
    /// `Adam(model.parameters(), ...)` for the model whose parameters are in `vs`.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn new(vs: &VarStore, options: AdamOptions) -> Result<Self, Error> {
        choose_square_root()?;
        let parameters = Parameters::of(vs);
        Ok(Self {
            grad: parameters.zeros()?,
            exp_avg: parameters.zeros()?,
            exp_avg_sq: parameters.zeros()?,
            denom: parameters.zeros()?,
            weight: parameters.scalar(1.0 - options.betas.1)?,
            weight_decay: parameters.scalar(options.weight_decay)?,
            steps: 0,
            options,
            parameters,
        })
    }

    fn update(&mut self) -> Result<(), TchError> {
        let Self { options, parameters, grad, exp_avg, exp_avg_sq, denom, steps, .. } = self;
        let AdamOptions { lr, betas: (beta1, beta2), eps, weight_decay, decoupled_weight_decay } = *options;
        *steps += 1;
        if weight_decay != 0.0 && decoupled_weight_decay {
            for parameter in parameters.each() {
                let _ = parameter.f_mul_scalar_(1.0 - lr * weight_decay)?;
            }
        } else if weight_decay != 0.0 {
            parameters.penalize(grad, &self.weight_decay)?;
        }
        exp_avg.lerp(grad, 1.0 - beta1)?;
        // As in RMSprop, the factor is multiplied with the first gradient beforehand.
        let weighted = grad.all.f_mul_out(&denom.all, &self.weight)?;
        let _ = exp_avg_sq.all.f_mul_scalar_(beta2)?.f_addcmul_(&weighted, &grad.all)?;

        let step = *steps as f64;
        let (bias_correction1, bias_correction2) = (1.0 - beta1.powf(step), 1.0 - beta2.powf(step));
        let _ = exp_avg_sq.all.f_sqrt_out(&denom.all)?;
        let _ = denom.all.f_div_scalar_(bias_correction2.powf(0.5))?.f_add_scalar_(eps)?;
        let step_size = parameters.scalar(-(lr / bias_correction1))?;
        let _ = exp_avg.all.f_mul_out(&grad.all, &step_size)?;
        for ((parameter, grad), denom) in parameters.each().zip(&grad.parts).zip(&denom.parts) {
            let _ = parameter.f_addcdiv_(grad, denom)?;
        }
        Ok(())
    }
}

impl Optimizer for Adam {
    fn lr(&self) -> f64 {
        self.options.lr
    }

    fn parameters(&self) -> Vec<(&str, &Tensor)> {
        self.parameters.named()
    }

    fn states(&self) -> Vec<(&'static str, Vec<&Tensor>)> {
        vec![("exp_avg", self.exp_avg.each()), ("exp_avg_sq", self.exp_avg_sq.each())]
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps)
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
