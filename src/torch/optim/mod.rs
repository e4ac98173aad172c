//! The optimizers of `torch.optim` whose state can be read and restored, each from the tensor operations of PyTorch's default
//! path on the CPU, in their order.
//!
//! The gradients and the states of all parameters are each concatenated in one tensor, so that an operation runs once instead
//! of once for every parameter. The operations are libtorch's, one after the other: a loop of our own could do them in one
//! pass, but MKL's square root does not round correctly on every processor, and only MKL gives the same bits.

mod adam;
mod rmsprop;
mod sgd;

use std::fmt::Debug;

use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor};

pub use adam::{Adam, AdamOptions};
pub use rmsprop::{RmsProp, RmsPropOptions};
pub use sgd::{Sgd, SgdOptions};

use super::Error;

/// An optimizer of a model's parameters.
pub trait Optimizer: Debug + Send {
    /// The learning rate.
    fn lr(&self) -> f64;

    /// The parameters that it trains, sorted by name. Gradients and states have the same order.
    fn parameters(&self) -> Vec<(&str, &Tensor)>;

    /// Its states by their names in PyTorch, such as `square_avg`: a tensor for each parameter, in its shape. They share
    /// storage with the optimizer's own.
    fn states(&self) -> Vec<(&'static str, Vec<&Tensor>)>;

    /// The number of steps taken; none if the updates do not depend on it.
    fn steps(&self) -> Option<usize>;

    /// Takes over the number of steps taken, of a run that is resumed.
    fn set_steps(&mut self, steps: usize);

    /// Updates every parameter by its gradient.
    ///
    /// # Errors
    /// Fails if the gradients are not those of all parameters, or libtorch fails.
    fn step(&mut self, gradients: &[Tensor]) -> Result<(), Error>;

    /// `torch.autograd.grad(loss, parameters)`: the gradient of a scalar with respect to every parameter. `loss.backward()`
    /// would add it to the zeros that tch's `zero_grad` leaves.
    ///
    /// # Errors
    /// Fails if a parameter is frozen or does not affect the loss, or libtorch fails.
    fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>, Error> {
        let parameters = self.parameters();
        if let Some((name, _)) = parameters.iter().find(|(_, parameter)| !parameter.requires_grad()) {
            return Err(Error::NoGradient(name.to_string()));
        }
        let tensors: Vec<&Tensor> = parameters.iter().map(|(_, parameter)| *parameter).collect();
        let gradients = Tensor::f_run_backward(&[loss], &tensors, false, false)?;
        match parameters.iter().zip(&gradients).find(|(_, gradient)| !gradient.defined()) {
            Some(((name, _), _)) => Err(Error::NoGradient(name.to_string())),
            None => Ok(gradients),
        }
    }
}

/// The trained parameters of a model, sorted by name.
#[derive(Debug)]
struct Parameters {
    named: Vec<(String, Tensor)>,
    device: Device,
}

/// A tensor with a part for each parameter.
#[derive(Debug)]
struct Flat {
    all: Tensor,
    /// Views into it, in the parameters' shapes.
    parts: Vec<Tensor>,
}

impl Parameters {
    fn of(vs: &VarStore) -> Self {
        let mut named: Vec<_> =
            vs.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        let device = named.first().map_or(Device::Cpu, |(_, variable)| variable.device());
        Self { named, device }
    }

    fn named(&self) -> Vec<(&str, &Tensor)> {
        self.named.iter().map(|(name, parameter)| (name.as_str(), parameter)).collect()
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.named.iter_mut().map(|(_, parameter)| parameter)
    }

    fn zeros(&self) -> Result<Flat, TchError> {
        let count = self.named.iter().map(|(_, parameter)| parameter.numel() as i64).sum::<i64>();
        let all = Tensor::f_zeros([count], (Kind::Float, self.device))?;
        let (mut start, mut parts) = (0, vec![]);
        for (_, parameter) in &self.named {
            let length = parameter.numel() as i64;
            parts.push(all.f_narrow(0, start, length)?.f_view(&parameter.size()[..])?);
            start += length;
        }
        Ok(Flat { all, parts })
    }

    /// Adds an L2 penalty to the gradients: g ← g + λ·θ.
    fn penalize(&mut self, grad: &mut Flat, weight_decay: &Tensor) -> Result<(), TchError> {
        for (parameter, grad) in self.each().zip(&mut grad.parts) {
            let _ = grad.f_addcmul_(parameter, weight_decay)?;
        }
        Ok(())
    }

    /// A number as a scalar tensor: ATen's product with a number allocates a tensor and copies it to `out`, and tch's
    /// `add_` and `addcmul_` lack the factor that PyTorch's have. `addcmul_` with it as the second factor rounds as they do:
    /// once, where the processor has fused multiply-add.
    fn scalar(&self, value: f64) -> Result<Tensor, TchError> {
        Tensor::from(value as f32).f_to_device(self.device)
    }
}

impl Flat {
    /// Fails unless the gradients have the parameters' shapes; `cat` would only warn.
    fn concatenate(&self, gradients: &[Tensor]) -> Result<(), Error> {
        if !gradients.iter().map(Tensor::size).eq(self.parts.iter().map(Tensor::size)) {
            let [given, expected] =
                [gradients, &self.parts].map(|tensors| tensors.iter().map(Tensor::size).collect());
            return Err(Error::Gradients { given, expected });
        }
        let flat = gradients.iter().map(|gradient| gradient.f_view(-1)).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::f_cat_out(&self.all, &flat, 0).map(drop)?)
    }

    /// `lerp_`, parameter by parameter: with a weight of 1, ATen makes -0 of -0 where a vector instruction computes it, and 0
    /// in the rest of a tensor.
    fn lerp(&mut self, end: &Flat, weight: f64) -> Result<(), TchError> {
        for (part, end) in self.parts.iter_mut().zip(&end.parts) {
            let _ = part.f_lerp_(end, weight)?;
        }
        Ok(())
    }

    fn each(&self) -> Vec<&Tensor> {
        self.parts.iter().collect()
    }
}
