//! Sketches: 16 numbers of a tensor. The distance of two sketches estimates the distance of the tensors (Charikar, Chen and
//! Farach-Colton 2002, "Finding frequent items in data streams").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::{Kind, Tensor, no_grad};

use super::format::Quantity;
use crate::torch::{Error, state_dict::bytes};

/// Numbers in a sketch. The standard deviation of the estimate is 1 / √(2 · 16) of the distance, 18 %.
const LENGTH: usize = 16;

/// The signs of a tensor's values in row-major order, the same in every trace. As many as the largest tensor needs so far.
#[derive(Debug, Default)]
pub struct Signs(Vec<f64>);

impl Signs {
    /// The sketch of a tensor with these bytes, in base64. The values are multiplied by their signs; number i of the sketch is
    /// the sum of every 16th value from the i-th, in f64.
    pub fn sketch(&mut self, tensor: &Tensor, content: &[u8]) -> Result<String, Error> {
        self.grow(tensor.numel());
        let sums = match tensor.kind() {
            Kind::Float => self.sums(content, |value| f32::from_le_bytes(value).into()),
            Kind::Double => self.sums(content, f64::from_le_bytes),
            _ => {
                let double = no_grad(|| tensor.f_to_kind(Kind::Double))?;
                self.sums(&bytes(&double)?, f64::from_le_bytes)
            }
        };
        Ok(encoded(sums))
    }

    /// The sketch of these values.
    pub fn sketch_of(&mut self, values: &[f64]) -> String {
        self.grow(values.len());
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        encoded(self.sums(&bytes, f64::from_le_bytes))
    }

    fn grow(&mut self, count: usize) {
        let missing = self.0.len()..count;
        self.0.extend(missing.map(|place| sign(place as u32)));
    }

    fn sums<const SIZE: usize>(&self, content: &[u8], value: impl Fn([u8; SIZE]) -> f64) -> [f64; LENGTH] {
        let mut sums = [0.0; LENGTH];
        let values = content.as_chunks::<SIZE>().0;
        for (values, signs) in values.chunks(LENGTH).zip(self.0.chunks(LENGTH)) {
            for ((sum, bytes), sign) in sums.iter_mut().zip(values).zip(signs) {
                *sum += sign * value(*bytes);
            }
        }
        sums
    }
}

fn encoded(sums: [f64; LENGTH]) -> String {
    STANDARD.encode(sums.map(f64::to_le_bytes).as_flattened())
}

/// The sign of the value at this index: +1 if the highest bit of the index's hash is 0, otherwise -1. The hash is the last step
/// of MurmurHash3 for 32 bits.
fn sign(index: u32) -> f64 {
    let hash = (index ^ index >> 16).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    if (hash ^ hash >> 16) >> 31 == 0 { 1.0 } else { -1.0 }
}

/// The numbers of a quantity's sketch; none if it has no sketch, or one of another length.
pub fn numbers(quantity: &Quantity) -> Option<[f64; LENGTH]> {
    decoded(quantity.sketch.as_ref()?)
}

fn decoded(sketch: &str) -> Option<[f64; LENGTH]> {
    let bytes = STANDARD.decode(sketch).ok()?;
    let numbers = bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
    numbers.collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Generator;

    fn sketched(values: &Tensor) -> [f64; LENGTH] {
        decoded(&Signs::default().sketch(values, &bytes(values).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_distance_of_two_sketches_is_that_of_the_tensors_to_within_18_percent() {
        let generator = Generator::new(0);
        let errors = (0..400).map(|_| {
            let [a, b] = [(); 2].map(|()| Tensor::from_slice(&generator.uniform(1000, -1.0, 1.0)));
            let apart = (&a - &b).norm().double_value(&[]);
            let estimated = sketched(&a).iter().zip(sketched(&b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            (estimated.sqrt() / apart - 1.0).powi(2)
        });
        let deviation = (errors.sum::<f64>() / 400.0).sqrt();
        assert!((0.15..0.21).contains(&deviation), "{deviation}");
    }

    #[test]
    fn a_sketch_has_the_values_with_their_signs_whatever_the_kind() {
        let values = [1.0, -2.0, 0.5, 0.0, 3.0, 8.0];
        let expected: Vec<f64> = values.iter().zip(0..).map(|(value, place)| sign(place) * value).collect();
        for kind in [Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16] {
            let sketch = sketched(&Tensor::from_slice(&values).to_kind(kind));
            assert_eq!((&sketch[..6], sketch[6..].iter().sum::<f64>()), (&expected[..], 0.0), "{kind:?}");
        }
        let whole = sketched(&Tensor::from_slice(&[3i64, -4]));
        assert_eq!(whole[..2], [sign(0) * 3.0, sign(1) * -4.0]);
        assert_eq!([0, 1, 2, 3, 4, 5].map(sign), [1.0, 1.0, 1.0, -1.0, 1.0, -1.0]);
    }
}
