//! v ← α·v of RMSprop, as fast for denormal numbers as for others.

use tch::{Device, Kind, TchError, Tensor};

/// Steps between checks for denormals. An ordinary number takes thousands of steps to become one.
const CHECK_EVERY: u32 = 256;
/// With more denormals than this the detour through f64 is faster. Pixels that are hardly ever lit have a few from the start.
const MAX_DENORMALS: i64 = 2000;

/// Multiplies v by α in place.
///
/// Once a unit stops firing, its v decays to a denormal within some 30 epochs. Products with denormals take many times as
/// long, and v stays one: from 49 times the smallest denormal down, 0.99 times the value rounds to the value itself. Once v
/// has many of them, the product is computed in f64, which is exact there, so the result is rounded once, as in f32.
#[derive(Debug)]
pub struct Decay {
    alpha: f64,
    steps: u32,
    /// v in f64, if it has many denormals.
    wide: Option<Tensor>,
}

impl Decay {
    pub fn new(alpha: f64) -> Self {
        Self { alpha, steps: 0, wide: None }
    }

    pub fn apply(&mut self, v: &mut Tensor) -> Result<(), TchError> {
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

    /// As what they are, since NaN is not equal to itself.
    fn bits(v: &Tensor) -> Vec<i32> {
        Vec::try_from(v.view_dtype(Kind::Int)).unwrap()
    }

    /// All denormal numbers but for their low bits, the least and the largest hundreds, and their neighbours, and what
    /// else there is.
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
    fn by_way_of_f64_every_product_is_libtorchs() {
        let mut v = values();
        let mut decay = Decay { steps: CHECK_EVERY - 1, ..Decay::new(ALPHA) };
        for _ in 0..3 {
            let expected = bits(&(&v * ALPHA));
            decay.apply(&mut v).unwrap();
            assert!(decay.wide.is_some(), "it went by way of f64");
            assert_eq!(bits(&v), expected);
        }
    }

    #[test]
    fn many_denormals_are_noticed_after_a_while_and_so_is_that_they_are_gone() {
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
    fn zero_and_the_least_normal_number_are_not_denormal() {
        let others = [0.0, -0.0, f32::MIN_POSITIVE, 1.0, f32::INFINITY, f32::NAN, -1.0];
        assert_eq!(denormals(&Tensor::from_slice(&others)).unwrap(), 0);
        let some = [f32::from_bits(1), 1.0, f32::from_bits(f32::MIN_POSITIVE.to_bits() - 1)];
        assert_eq!(denormals(&Tensor::from_slice(&some)).unwrap(), 2);
    }
}
