//! `torch.optim.RMSprop` without momentum, from tensor operations as in `_single_tensor_rmsprop`, and on CUDA as in
//! `_multi_tensor_rmsprop`, which rounds differently:
//!
//! v ← α·v + (1-α)·g², θ ← θ - lr·g / (√v + ε)
//!
//! v, g and √v + ε of all parameters are each concatenated in one tensor, so that an operation runs once instead of
//! once for every parameter, and nothing is allocated in a step. The operations are libtorch's, one after the other: a
//! loop of our own could do them in one pass, but MKL's square root does not round correctly on every processor, and
//! only MKL gives the same bits.

use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor, no_grad};

use super::Error;

const ALPHA: f64 = 0.99;
const EPS: f64 = 1e-8;
/// MKL's square root has a slow path, on some processors ten times as slow, for denormal numbers and for 0, which v is
/// wherever a pixel is always black. Anything below this has a root below 1e-18, and any such root plus ε rounds to ε in
/// f32.
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
    /// 1 - α as a scalar tensor: ATen's product with a number allocates a tensor and copies it to `out`.
    weight: Tensor,
    /// -lr, likewise.
    minus_lr: Tensor,
}

/// A parameter with its views into the three flat tensors, in its shape.
#[derive(Debug)]
struct Parameter {
    name: String,
    parameter: Tensor,
    square_avg: Tensor,
    grad: Tensor,
    avg: Tensor,
}

impl RmsProp {
    /// `RMSprop(model.parameters(), lr=lr)` for the model whose parameters are in `vs`.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn new(vs: &VarStore, lr: f64) -> Result<Self, Error> {
        // MKL chooses a kernel for its square root in the first call. If two threads call it first at the same time,
        // one may get a coarser kernel, and the weights differ from run to run: pytorch/pytorch#188792. One element
        // takes one thread.
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

    /// v of every parameter in its shape, with the parameter's name.
    pub fn square_avg(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.iter().map(|parameter| (parameter.name.as_str(), &parameter.square_avg))
    }

    /// The same, mutable; for `optimizer.load_state_dict`.
    pub fn square_avg_mut(&mut self) -> impl Iterator<Item = (&str, &mut Tensor)> {
        self.parameters.iter_mut().map(|parameter| (parameter.name.as_str(), &mut parameter.square_avg))
    }

    /// `torch.autograd.grad(loss, parameters)`: the gradient of a scalar with respect to every parameter, in the order of
    /// [`square_avg`](Self::square_avg). `loss.backward()` would add it to the zeros that tch's `zero_grad` leaves.
    ///
    /// # Errors
    /// Fails if a parameter is frozen or does not affect the loss, or libtorch fails.
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

    /// Updates every parameter by its gradient.
    ///
    /// # Errors
    /// Fails if the gradients are not those of all parameters, or libtorch fails.
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
        // before anything else, so doing that beforehand rounds alike. `avg` is free until it gets √v + ε.
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
    /// `value` its `addcmul` is fma(t1, t2, x), which with the value as t2 is the same.
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

/// Steps between checks for denormals. An ordinary number takes thousands of steps to become one.
const CHECK_EVERY: u32 = 256;
/// With more denormals than this the detour through f64 is faster. Pixels that are rarely lit have a few from the start.
const MAX_DENORMALS: i64 = 2000;

/// Multiplies v by α in place, as fast for denormal numbers as for others.
///
/// Once a unit stops firing, its v decays to a denormal within some 30 epochs. Products with denormals take many times as
/// long, and v stays one: from 49 times the smallest denormal down, 0.99 times the value rounds to the value itself. Once v
/// has many of them, the product is computed in f64, which is exact there, so the result is rounded once, as in f32.
#[derive(Debug)]
struct Decay {
    alpha: f64,
    steps: u32,
    /// v in f64, if it has many denormals.
    wide: Option<Tensor>,
}

impl Decay {
    fn new(alpha: f64) -> Self {
        Self { alpha, steps: 0, wide: None }
    }

    fn apply(&mut self, v: &mut Tensor) -> Result<(), TchError> {
        self.steps = (self.steps + 1) % CHECK_EVERY;
        if self.steps == 0 && v.device() == Device::Cpu {
            self.wide = if denormals(v)? > MAX_DENORMALS { Some(v.f_to_kind(Kind::Double)?) } else { None };
        }
        match &mut self.wide {
            Some(wide) => {
                wide.f_copy_(v)?;
                v.f_copy_(&wide.f_mul_scalar_(f64::from(self.alpha as f32))?)
            }
            None => v.f_mul_scalar_(self.alpha).map(drop),
        }
    }
}

/// Counts the numbers between 0 and the smallest normal one.
fn denormals(v: &Tensor) -> Result<i64, TchError> {
    let denormal = v.f_lt(f64::from(f32::MIN_POSITIVE))?.f_logical_and(&v.f_gt(0.0)?)?;
    i64::try_from(denormal.f_sum(Kind::Int64)?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{CHECK_EVERY, Decay, MAX_DENORMALS, denormals};

    const ALPHA: f64 = 0.99;

    /// Compared as bits, because NaN is not equal to itself.
    fn bits(v: &Tensor) -> Vec<i32> {
        Vec::try_from(v.view_dtype(Kind::Int)).unwrap()
    }

    /// A sample of all denormal numbers, the smallest and the largest 500, normal numbers next to them, and special values.
    fn values() -> Tensor {
        let normal = f32::MIN_POSITIVE.to_bits();
        let between = (0..normal).step_by(977);
        let denormal = between.chain(0..500).chain(normal - 500..normal + 200_000).map(f32::from_bits);
        let others = [0.0, -0.0, 1e-30, 0.3, 1.0, f32::MAX, f32::INFINITY, f32::NAN, -1e-40, -2.0];
        Tensor::from_slice(&denormal.chain(others).collect::<Vec<_>>())
    }

    fn apply(decay: &mut Decay, v: &mut Tensor, times: u32) {
        for _ in 0..times {
            decay.apply(v).unwrap();
        }
    }

    #[test]
    fn through_f64_every_product_equals_libtorchs() {
        let mut v = values();
        let mut decay = Decay { steps: CHECK_EVERY - 1, ..Decay::new(ALPHA) };
        for _ in 0..3 {
            let expected = bits(&(&v * ALPHA));
            decay.apply(&mut v).unwrap();
            assert!(decay.wide.is_some(), "the product was computed in f64");
            assert_eq!(bits(&v), expected);
        }
    }

    #[test]
    fn many_denormals_switch_to_f64_at_the_next_check_and_few_switch_back() {
        let (mut v, mut decay) =
            (Tensor::full([MAX_DENORMALS + 1], 1e-39, (Kind::Float, Device::Cpu)), Decay::new(ALPHA));
        apply(&mut decay, &mut v, CHECK_EVERY - 1);
        assert!(decay.wide.is_none());
        apply(&mut decay, &mut v, 1);
        assert!(decay.wide.is_some());
        let _ = v.get(0).fill_(1.0);
        apply(&mut decay, &mut v, CHECK_EVERY);
        assert!(decay.wide.is_none());
    }

    #[test]
    fn zero_and_the_smallest_normal_number_are_not_denormal() {
        let others = [0.0, -0.0, f32::MIN_POSITIVE, 1.0, f32::INFINITY, f32::NAN, -1.0];
        assert_eq!(denormals(&Tensor::from_slice(&others)).unwrap(), 0);
        let some = [f32::from_bits(1), 1.0, f32::from_bits(f32::MIN_POSITIVE.to_bits() - 1)];
        assert_eq!(denormals(&Tensor::from_slice(&some)).unwrap(), 2);
    }
}
