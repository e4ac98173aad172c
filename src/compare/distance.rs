//! How far apart two tensors of traces are: exactly if both traces kept the tensor, otherwise estimated from their sketches.

use std::fmt;
use std::ops::AddAssign;

use serde::Serialize;

use super::numbers::{Element, Tolerance};
use crate::trace::{Quantity, sketched};

/// The Euclidean distance between the two sides of a tensor.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Distance {
    pub absolute: f64,
    /// The Euclidean norm of the reference's tensor.
    pub norm: f64,
    #[serde(skip)]
    values: usize,
    /// False if both numbers are estimated from sketches.
    is_exact: bool,
}

impl Distance {
    /// None if the number of values differs, a value is not finite, or there is neither data nor a sketch on both sides.
    pub fn between(reference: &Quantity, candidate: &Quantity) -> Option<Self> {
        let values = count(reference)?;
        if count(candidate) != Some(values) {
            return None;
        }
        let (absolute, norm, is_exact) = match values_of(reference).zip(values_of(candidate)) {
            Some((left, right)) => (apart(&left, &right), length(&left), true),
            None => {
                let (left, right) = sketched(reference).zip(sketched(candidate))?;
                (apart(&left, &right), length(&left), false)
            }
        };
        Some(Self { absolute, norm, values, is_exact }).filter(|_| absolute.is_finite() && norm.is_finite())
    }

    /// Relative to the reference; infinite if that is zero and the candidate is not.
    pub fn relative(&self) -> f64 {
        if self.absolute == 0.0 { 0.0 } else { self.absolute / self.norm }
    }

    /// True if it is at most atol · √n + rtol · ‖reference‖, for n values: what [`Tolerance`] allows for each value.
    pub fn is_within(&self, Tolerance { atol, rtol }: Tolerance) -> bool {
        self.absolute <= atol * (self.values as f64).sqrt() + rtol * self.norm
    }
}

/// The distance between two lists of tensors.
impl AddAssign for Distance {
    fn add_assign(&mut self, other: Self) {
        self.absolute = self.absolute.hypot(other.absolute);
        self.norm = self.norm.hypot(other.norm);
        self.values += other.values;
        self.is_exact &= other.is_exact;
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let about = if self.is_exact { "" } else { "about " };
        write!(f, "{about}{:.1e}", self.relative())
    }
}

/// None if no tensor has that many values.
fn count(quantity: &Quantity) -> Option<usize> {
    quantity.shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length))
}

/// The values of a quantity whose data are kept.
fn values_of(quantity: &Quantity) -> Option<Vec<f64>> {
    let element = Element::of_torch(&quantity.kind)?;
    let bytes = quantity.bytes(element.size())?;
    Some(bytes.chunks_exact(element.size()).map(|bytes| element.value(bytes).as_f64()).collect())
}

fn apart(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value.powi(2)).sum::<f64>().sqrt()
}
