//! A sketch of the parameters: 64 numbers whose distance from another training's estimates the distance of all the
//! parameters (Charikar, Chen and Farach-Colton 2002, "Finding frequent items in data streams").

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::{Device, Kind, Tensor, no_grad};

use crate::torch::Error;
use crate::torch::generator::Generator;
use crate::torch::state_dict::bytes;

/// The standard deviation of the estimate is 1 / √(2 · 64) of the distance, 9 %.
pub const LENGTH: usize = 64;

/// A sign for every parameter, the same on both sides: the i-th is that of `2 * bernoulli(0.5) - 1`, drawn from a generator
/// with seed 0.
#[derive(Debug)]
pub struct Signs(Tensor);

impl Default for Signs {
    fn default() -> Self {
        Self(Tensor::zeros([0], (Kind::Double, Device::Cpu)))
    }
}

impl Signs {
    /// The parameters one after the other, by name, each times its sign; the sum of every 64th from the first, from the
    /// second and so on. As bytes of f64.
    pub fn sketch(&mut self, parameters: &[(String, Tensor)]) -> Result<Vec<u8>, Error> {
        let by_name: BTreeMap<&String, &Tensor> =
            parameters.iter().map(|(name, tensor)| (name, tensor)).collect();
        no_grad(|| {
            // Of a training without parameters there is nothing to join else.
            let mut flat = vec![Tensor::f_zeros([0], (Kind::Double, Device::Cpu))?];
            for tensor in by_name.values() {
                flat.push(
                    tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_reshape(-1)?,
                );
            }
            let mut all = Tensor::f_cat(&flat, 0)?;
            let count = all.numel();
            let _ = all.f_mul_(self.of(count)?)?;
            let padded = all.f_constant_pad_nd([0, (count.next_multiple_of(LENGTH) - count) as i64])?;
            let sums = padded.f_view([-1, LENGTH as i64])?.f_sum_dim_intlist(
                [0i64].as_slice(),
                false,
                Kind::Double,
            )?;
            Ok(bytes(&sums)?)
        })
    }

    /// As many signs as this.
    fn of(&mut self, count: usize) -> Result<&Tensor, Error> {
        if self.0.numel() != count {
            let drawn = Tensor::f_from_slice(&Generator::new(0).bernoulli(count, 0.5))?;
            self.0 = drawn.f_to_kind(Kind::Double)?.f_mul_scalar_(2.0)?.f_sub_scalar_(1.0)?;
        }
        Ok(&self.0)
    }
}

/// The distance of the parameters of which these are sketches, in base64; estimated. None if they are not of one length,
/// or not of numbers.
pub fn distance(a: &str, b: &str) -> Option<f64> {
    let [a, b] = [a, b].map(|sketch| STANDARD.decode(sketch).ok().filter(|bytes| bytes.len() == 8 * LENGTH));
    let (a, b) = (a?, b?);
    let numbers =
        |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect::<Vec<_>>();
    let squares = numbers(&a).into_iter().zip(numbers(&b)).map(|(a, b)| (a - b).powi(2));
    Some(squares.sum::<f64>().sqrt()).filter(|distance| distance.is_finite())
}
