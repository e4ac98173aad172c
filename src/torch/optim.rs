//! `torch.optim.RMSprop` without momentum, from tensor operations as in `_single_tensor_rmsprop`, and on CUDA as in
//! `_multi_tensor_rmsprop`, which rounds otherwise:
//!
//! v ← α·v + (1-α)·g², θ ← θ - lr·g / (√v + ε)
//!
//! v, g and √v + ε of all parameters lie one after the other in one tensor each, so that an operation runs once and not
//! once for every parameter, and nothing is allocated in a step. The operations are libtorch's, one after the other: a
//! loop of our own could do them in one pass, but MKL's square root does not round correctly on every processor, and
//! what it gives instead only it knows.

use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor, no_grad};

use super::decay::Decay;
use crate::torch::Error;

const ALPHA: f64 = 0.99;
const EPS: f64 = 1e-8;
/// MKL's square root has a slow path, on some processors ten times as slow, for denormal numbers and for 0, which v is
/// wherever a pixel is always black. What is below this has a root below 1e-18, and that plus ε rounds to ε in f32,
/// whatever it is.
const NEGLIGIBLE: f64 = 1e-36;

/// The optimizer of a model's parameters, with α = 0.99 and ε = 1e-8, PyTorch's defaults.
///
/// ```
/// use islp_mnist::torch::optim::RmsProp;
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let x = vs.root().var_copy("x", &Tensor::from_slice(&[1f32, -1.0]));
/// let mut optimizer = RmsProp::new(&vs, 0.01)?;
/// let gradients = optimizer.gradients(&x.square().sum(Kind::Float))?;
/// optimizer.step(&gradients)?;
/// assert!(f32::try_from(x.get(0)).unwrap() < 1.0);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct RmsProp {
    lr: f64,
    parameters: Vec<Parameter>,
    square_avg: Tensor,
    decay: Decay,
    grad: Tensor,
    avg: Tensor,
    /// 1 - α as a scalar tensor: ATen's product with a number makes a new tensor and copies that to `out`.
    weight: Tensor,
    /// -lr, likewise.
    minus_lr: Tensor,
}

/// A parameter with what belongs to it of the three tensors, in its shape.
#[derive(Debug)]
struct Parameter {
    name: String,
    parameter: Tensor,
    square_avg: Tensor,
    grad: Tensor,
    avg: Tensor,
}

impl RmsProp {
    /// `RMSprop(model.parameters(), lr=lr)` for the model whose parameters lie in `vs`.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn new(vs: &VarStore, lr: f64) -> Result<Self, Error> {
        // MKL settles on a kernel for its square root at the first call. If that comes from two threads at once, one
        // may get a coarser kernel, and the weights differ from run to run: pytorch/pytorch#188792. One element is
        // one thread's.
        let _ = Tensor::f_from_slice(&[1f32])?.f_sqrt()?;
        let mut variables: Vec<_> =
            vs.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        variables.sort_by(|(a, _), (b, _)| a.cmp(b));

        let count = variables.iter().map(|(_, variable)| variable.numel() as i64).sum::<i64>();
        let device = variables.first().map_or(Device::Cpu, |(_, variable)| variable.device());
        let zeros = || Tensor::f_zeros([count], (Kind::Float, device));
        let (square_avg, grad, avg) = (zeros()?, zeros()?, zeros()?);
        let mut start = 0;
        let mut parameters = vec![];
        for (name, parameter) in variables {
            let (size, length) = (parameter.size(), parameter.numel() as i64);
            let part = |tensor: &Tensor| -> Result<_, TchError> {
                tensor.f_narrow(0, start, length)?.f_view(&size[..])
            };
            let (square_avg, grad, avg) = (part(&square_avg)?, part(&grad)?, part(&avg)?);
            parameters.push(Parameter { name, parameter, square_avg, grad, avg });
            start += length;
        }
        let weight = Tensor::from((1.0 - ALPHA) as f32).f_to_device(device)?;
        let minus_lr = Tensor::from(-lr as f32).f_to_device(device)?;
        Ok(Self { lr, parameters, square_avg, decay: Decay::new(ALPHA), grad, avg, weight, minus_lr })
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// v of every parameter by the parameter's name, of its shape.
    pub fn square_avg(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.iter().map(|parameter| (parameter.name.as_str(), &parameter.square_avg))
    }

    /// v of every parameter, to be set; `optimizer.load_state_dict`.
    pub fn square_avg_mut(&mut self) -> impl Iterator<Item = (&str, &mut Tensor)> {
        self.parameters.iter_mut().map(|parameter| (parameter.name.as_str(), &mut parameter.square_avg))
    }

    /// `torch.autograd.grad(loss, parameters)`: the gradient of a scalar by every parameter, in the order of
    /// [`square_avg`](Self::square_avg). `loss.backward()` would add it to what tch's `zero_grad` set to zero.
    ///
    /// # Errors
    /// A parameter that has no part in the loss, or libtorch's.
    pub fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>, Error> {
        let frozen = self.parameters.iter().find(|parameter| !parameter.parameter.requires_grad());
        if let Some(Parameter { name, .. }) = frozen {
            return Err(Error::NoGradient(name.clone()));
        }
        let parameters: Vec<_> = self.parameters.iter().map(|parameter| &parameter.parameter).collect();
        let gradients = Tensor::f_run_backward(&[loss], &parameters, false, false)?;
        match self.parameters.iter().zip(&gradients).find(|(_, gradient)| !gradient.defined()) {
            Some((Parameter { name, .. }, _)) => Err(Error::NoGradient(name.clone())),
            None => Ok(gradients),
        }
    }

    /// Moves every parameter by its gradient.
    ///
    /// # Errors
    /// Not the gradients of all parameters, or libtorch's.
    pub fn step(&mut self, gradients: &[Tensor]) -> Result<(), Error> {
        no_grad(|| {
            let flat = gradients.iter().map(|gradient| gradient.f_view(-1)).collect::<Result<Vec<_>, _>>()?;
            let _ = Tensor::f_cat_out(&self.grad, &flat, 0)?;
            if self.grad.device().is_cuda() { self.multi_tensor() } else { self.single_tensor() }
        })?;
        Ok(())
    }

    fn single_tensor(&mut self) -> Result<(), TchError> {
        let Self { parameters, square_avg: v, decay, grad, avg, weight, lr, .. } = self;
        // tch's addcmul_ and addcdiv_ lack the scalar `value`. ATen multiplies it with the first factor
        // before anything else, so doing that beforehand rounds alike. Until there is an average, its room is free.
        let weighted = grad.f_mul_out(avg, weight)?;
        decay.apply(v)?;
        let _ = v.f_addcmul_(&weighted, grad)?;
        let _ = v.f_clamp_min_out(avg, NEGLIGIBLE)?.f_sqrt_()?.f_add_scalar_(EPS)?;
        let _ = grad.f_mul_scalar_(-*lr)?;
        for Parameter { parameter, grad, avg, .. } in parameters {
            let _ = parameter.f_addcdiv_(grad, avg)?;
        }
        Ok(())
    }

    /// CUDA's `addcmul` and `addcdiv` compute fma(value, t1 ∘ t2, x), rounded once (`DeviceAddCmulCdiv.cuh`). Without a
    /// `value` its `addcmul` is fma(t1, t2, x): with the value in the place of t2 the same.
    fn multi_tensor(&mut self) -> Result<(), TchError> {
        let Self { parameters, square_avg: v, grad, avg, weight, minus_lr, .. } = self;
        let square = grad.f_mul_out(avg, grad)?;
        let _ = v.f_mul_scalar_(ALPHA)?.f_addcmul_(&square, weight)?;
        let _ = v.f_sqrt_out(avg)?.f_add_scalar_(EPS)?;
        let _ = grad.f_div_(avg)?;
        for Parameter { parameter, grad, .. } in parameters {
            let _ = parameter.f_addcmul_(grad, minus_lr)?;
        }
        Ok(())
    }
}
