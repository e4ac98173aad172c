//! α·v of RMSprop, at the same speed whatever v has become.

use tch::{Device, Kind, TchError, Tensor};

use super::optim::ALPHA;

/// Steps between checks for denormals. An ordinary number takes thousands of steps to become one.
const LOOK_EVERY: u32 = 256;
/// So many denormal numbers take as long as going by way of f64. A few there are from the start, of pixels that are hardly
/// ever lit.
const MANY: i64 = 2000;

/// Multiplies v by α in place.
///
/// Of a unit that never fires any more v becomes a denormal number after some 30 epochs, with which a product takes many
/// times as long, and it stays one: of 49 times the least and below, 0.99 rounds to the same. Once v has many of them the
/// product goes by way of f64. That holds it exactly, so it is rounded once there too.
#[derive(Debug, Default)]
pub struct Decay {
    steps: u32,
    /// v in f64, if it has many denormal numbers.
    wide: Option<Tensor>,
}

impl Decay {
    pub fn apply(&mut self, v: &mut Tensor) -> Result<(), TchError> {
        self.steps = (self.steps + 1) % LOOK_EVERY;
        if self.steps == 0 && v.device() == Device::Cpu {
            self.wide = if denormals(v)? > MANY { Some(v.f_to_kind(Kind::Double)?) } else { None };
        }
        match &mut self.wide {
            Some(wide) => {
                wide.f_copy_(v)?;
                v.f_copy_(&wide.f_mul_scalar_(f64::from(ALPHA as f32))?)
            }
            None => v.f_mul_scalar_(ALPHA).map(drop),
        }
    }
}

/// How many numbers there are between 0 and the least normal one.
fn denormals(v: &Tensor) -> Result<i64, TchError> {
    let denormal = v.f_lt(f64::from(f32::MIN_POSITIVE))?.f_logical_and(&v.f_gt(0.0)?)?;
    i64::try_from(denormal.f_sum(Kind::Int64)?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{ALPHA, Decay, LOOK_EVERY, MANY, denormals};

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
        let mut decay = Decay { steps: LOOK_EVERY - 1, wide: None };
        for _ in 0..3 {
            let expected = bits(&(&v * ALPHA));
            decay.apply(&mut v).unwrap();
            assert!(decay.wide.is_some(), "it went by way of f64");
            assert_eq!(bits(&v), expected);
        }
    }

    #[test]
    fn that_there_are_many_denormal_numbers_is_noticed_after_a_while_and_that_there_are_none_any_more() {
        let (mut v, mut decay) =
            (Tensor::full([MANY + 1], 1e-39, (Kind::Float, Device::Cpu)), Decay::default());
        apply(&mut decay, &mut v, LOOK_EVERY - 1);
        assert!(decay.wide.is_none());
        apply(&mut decay, &mut v, 1);
        assert!(decay.wide.is_some());
        let _ = v.get(0).fill_(1.0);
        apply(&mut decay, &mut v, LOOK_EVERY);
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
