//! `torch.optim.RMSprop`, from tensor operations as in `_single_tensor_rmsprop`, and on CUDA as in `_multi_tensor_rmsprop`,
//! which rounds differently:
//!
//! v ← α·v + (1-α)·g², θ ← θ - lr·g / (√v + ε)
//!
//! With weight decay g ← g + λ·θ comes first. Centered, m ← m + (1-α)·(g - m), and the root is that of v - m². With momentum
//! b ← μ·b + g / (√v + ε), θ ← θ - lr·b.

use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor, no_grad};

use super::{Flat, Optimizer, Parameters};
use crate::torch::Error;

/// MKL's square root has a slow path, on some processors ten times as slow, for denormal numbers and for 0, which v is
/// wherever a pixel is always black. Anything below this has a root below 1e-18, and any such root plus ε rounds to ε in
/// f32, unless ε is below [`MIN_EPS`].
const NEGLIGIBLE: f64 = 1e-36;
const MIN_EPS: f64 = 1e-10;

/// The options of [`RmsProp`], with PyTorch's names and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsPropOptions {
    /// The learning rate.
    pub lr: f64,
    /// α, the decay of the averages.
    pub alpha: f64,
    /// ε, which keeps the divisor from 0.
    pub eps: f64,
    /// λ, the L2 penalty.
    pub weight_decay: f64,
    /// The factor μ of the momentum; 0 for none.
    pub momentum: f64,
    /// Divides by an estimate of the gradients' standard deviation instead of their root mean square.
    pub centered: bool,
    /// Follows the gradient instead of its negative.
    pub maximize: bool,
}

impl Default for RmsPropOptions {
    fn default() -> Self {
        let (lr, alpha, eps) = (1e-2, 0.99, 1e-8);
        Self { lr, alpha, eps, weight_decay: 0.0, momentum: 0.0, centered: false, maximize: false }
    }
}

/// The optimizer of the notebook's models.
///
/// ```
/// use islp_mnist::torch::optim::{Optimizer, RmsProp, RmsPropOptions};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let x = vs.root().var_copy("x", &Tensor::from_slice(&[1f32, -1.0]));
/// let mut optimizer = RmsProp::new(&vs, RmsPropOptions::default())?;
/// let gradients = optimizer.gradients(&x.square().sum(Kind::Float))?;
/// optimizer.step(&gradients)?;
/// assert!(f32::try_from(x.get(0)).unwrap() < 1.0);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct RmsProp {
    options: RmsPropOptions,
    parameters: Parameters,
    square_avg: Flat,
    /// Of the gradients, if it is centered.
    grad_avg: Option<Flat>,
    /// If it has momentum.
    momentum_buffer: Option<Flat>,
    decay: Decay,
    grad: Flat,
    avg: Flat,
    /// 1 - α.
    weight: Tensor,
    weight_decay: Tensor,
    minus_lr: Tensor,
}

impl RmsProp {
    /// `RMSprop(model.parameters(), ...)` for the model whose parameters are in `vs`.
    ///
    /// # Errors
    /// Fails if memory is short, or on CUDA for other options than `lr`, `alpha` and `eps`.
    pub fn new(vs: &VarStore, options: RmsPropOptions) -> Result<Self, Error> {
        let RmsPropOptions { lr, alpha, eps, .. } = options;
        let parameters = Parameters::of(vs);
        if parameters.device.is_cuda() && options != (RmsPropOptions { lr, alpha, eps, ..Default::default() })
        {
            return Err(Error::RmsPropOnCuda);
        }
        choose_square_root()?;
        let zeros_if = |wanted: bool| wanted.then(|| parameters.zeros()).transpose();
        Ok(Self {
            square_avg: parameters.zeros()?,
            grad_avg: zeros_if(options.centered)?,
            momentum_buffer: zeros_if(options.momentum > 0.0)?,
            decay: Decay::new(alpha),
            grad: parameters.zeros()?,
            avg: parameters.zeros()?,
            weight: parameters.scalar(1.0 - alpha)?,
            weight_decay: parameters.scalar(options.weight_decay)?,
            minus_lr: parameters.scalar(-lr)?,
            options,
            parameters,
        })
    }

    fn single_tensor(&mut self) -> Result<(), TchError> {
        let Self {
            options, parameters, square_avg, decay, grad, avg, weight, weight_decay, minus_lr, ..
        } = self;
        let RmsPropOptions { lr, alpha, eps, .. } = *options;
        if options.maximize {
            let _ = grad.all.f_neg_()?;
        }
        if options.weight_decay != 0.0 {
            parameters.penalize(grad, weight_decay)?;
        }
        let v = &mut square_avg.all;
        // tch's addcmul_ and addcdiv_ lack the scalar `value`. ATen multiplies it with the first factor
        // before anything else, so doing that beforehand rounds alike. `avg` is free until it gets √v + ε.
        let weighted = grad.all.f_mul_out(&avg.all, weight)?;
        decay.apply(v)?;
        let _ = v.f_addcmul_(&weighted, &grad.all)?;
        if let Some(grad_avg) = &mut self.grad_avg {
            grad_avg.lerp(grad, 1.0 - alpha)?;
            let m = &grad_avg.all;
            avg.all.f_copy_(v)?;
            let _ = avg.all.f_addcmul_(&m.f_neg()?, m)?;
        } else if eps >= MIN_EPS {
            let _ = v.f_clamp_min_out(&avg.all, NEGLIGIBLE)?;
        } else {
            avg.all.f_copy_(v)?;
        }
        let _ = avg.all.f_sqrt_()?.f_add_scalar_(eps)?;
        if let Some(buffer) = &mut self.momentum_buffer {
            let _ = buffer.all.f_mul_scalar_(options.momentum)?.f_addcdiv_(&grad.all, &avg.all)?;
            for (parameter, buffer) in parameters.each().zip(&buffer.parts) {
                let _ = parameter.f_addcmul_(buffer, minus_lr)?;
            }
            return Ok(());
        }
        let _ = grad.all.f_mul_scalar_(-lr)?;
        for ((parameter, grad), avg) in parameters.each().zip(&grad.parts).zip(&avg.parts) {
            let _ = parameter.f_addcdiv_(grad, avg)?;
        }
        Ok(())
    }

    /// CUDA's `addcmul` and `addcdiv` compute fma(value, t1 ∘ t2, x), rounded once (`DeviceAddCmulCdiv.cuh`). Without a
    /// `value` its `addcmul` is fma(t1, t2, x), which with the value as t2 is the same.
    fn multi_tensor(&mut self) -> Result<(), TchError> {
        let Self { options, parameters, square_avg, grad, avg, weight, minus_lr, .. } = self;
        let v = &mut square_avg.all;
        let square = grad.all.f_mul_out(&avg.all, &grad.all)?;
        let _ = v.f_mul_scalar_(options.alpha)?.f_addcmul_(&square, weight)?;
        let _ = v.f_sqrt_out(&avg.all)?.f_add_scalar_(options.eps)?;
        let _ = grad.all.f_div_(&avg.all)?;
        for (parameter, grad) in parameters.each().zip(&grad.parts) {
            let _ = parameter.f_addcmul_(grad, minus_lr)?;
        }
        Ok(())
    }
}

impl Optimizer for RmsProp {
    fn lr(&self) -> f64 {
        self.options.lr
    }

    fn parameters(&self) -> Vec<(&str, &Tensor)> {
        self.parameters.named()
    }

    fn states(&self) -> Vec<(&'static str, Vec<&Tensor>)> {
        let others = [("grad_avg", &self.grad_avg), ("momentum_buffer", &self.momentum_buffer)];
        let others = others.into_iter().filter_map(|(name, state)| Some((name, state.as_ref()?.each())));
        [("square_avg", self.square_avg.each())].into_iter().chain(others).collect()
    }

    fn steps(&self) -> Option<usize> {
        None
    }

    fn set_steps(&mut self, _steps: usize) {}

    fn step(&mut self, gradients: &[Tensor]) -> Result<(), Error> {
        no_grad(|| {
            self.grad.concatenate(gradients)?;
            if self.parameters.device.is_cuda() {
                self.multi_tensor()?
            } else {
                self.single_tensor()?
            }
            Ok(())
        })
    }
}

/// MKL chooses a kernel for its square root in the first call. If two threads call it first at the same time, one may get a
/// coarser kernel, and the weights differ from run to run: pytorch/pytorch#188792. One element takes one thread.
pub(super) fn choose_square_root() -> Result<(), TchError> {
    Tensor::f_from_slice(&[1f32])?.f_sqrt().map(drop)
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
