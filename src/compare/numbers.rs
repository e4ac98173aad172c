//! The differences between numbers, and the tolerance for them.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use safetensors::Dtype;
use serde::Serialize;

/// Beyond this a relative difference is clearer than a number of ULPs.
const MAX_ULPS: u64 = 9_999;

/// The tolerance of `torch.allclose`: |candidate - reference| ≤ atol + rtol · |reference|.
///
/// ```
/// use islp_mnist::compare::Tolerance;
///
/// let tolerance = Tolerance { atol: 0.0, rtol: 1e-5 };
/// assert!(tolerance.allows(100.0, 100.0005) && !tolerance.allows(100.0, 100.005));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tolerance {
    /// The absolute part.
    pub atol: f64,
    /// The part relative to the reference.
    pub rtol: f64,
}

impl Tolerance {
    /// True if the candidate's value is close enough to the reference's, as two NaNs and equal infinities are.
    pub fn allows(self, reference: f64, candidate: f64) -> bool {
        self.covers(Gap { reference, apart: apart(reference, candidate) })
    }

    fn covers(self, Gap { reference, apart }: Gap) -> bool {
        apart == 0.0 || apart.is_finite() && apart <= self.atol + self.rtol * reference.abs()
    }
}

/// The number of differences between numbers, and their absolute sizes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    pub count: usize,
    pub max_abs: f64,
    pub sum_abs: f64,
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            max_abs: self.max_abs.max(other.max_abs),
            sum_abs: self.sum_abs + other.sum_abs,
        }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Self::add)
    }
}

/// Collects differences one by one. A `D` describes one: its place and both values.
pub struct Differences<D> {
    tolerance: Option<Tolerance>,
    /// All differences, whatever the tolerance.
    pub size: Size,
    /// The number of differences that exceed the tolerance; all if there is none.
    pub beyond: usize,
    /// The first difference that exceeds it.
    pub first: Option<D>,
    /// The largest difference that exceeds it; none if none is between numbers.
    pub largest: Option<D>,
    largest_beyond: f64,
}

impl<D: Copy> Differences<D> {
    pub fn new(tolerance: Option<Tolerance>) -> Self {
        let size = Size::default();
        Self { tolerance, size, beyond: 0, first: None, largest: None, largest_beyond: 0.0 }
    }

    /// Adds a difference. `gap` is none unless both values are numbers.
    pub fn add(&mut self, gap: Option<Gap>, difference: D) {
        let apart = gap.map(|gap| gap.apart);
        let abs = apart.unwrap_or_default();
        self.size = self.size + Size { count: 1, max_abs: abs, sum_abs: abs };
        if let (Some(tolerance), Some(gap)) = (self.tolerance, gap)
            && tolerance.covers(gap)
        {
            return;
        }
        self.beyond += 1;
        self.first.get_or_insert(difference);
        if let Some(apart) = apart
            && (self.largest.is_none() || apart > self.largest_beyond)
        {
            (self.largest, self.largest_beyond) = (Some(difference), apart);
        }
    }
}

/// The distance between two numbers.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    pub reference: f64,
    /// The absolute difference, as [`apart`]. For integers it is exact: as f64, 2^53 and 2^53 + 1 would be equal.
    pub apart: f64,
}

impl Gap {
    pub fn between(reference: Scalar, candidate: Scalar) -> Self {
        let apart = match (reference, candidate) {
            (Scalar::Whole(left), Scalar::Whole(right)) => left.abs_diff(right) as f64,
            _ => apart(reference.as_f64(), candidate.as_f64()),
        };
        Self { reference: reference.as_f64(), apart }
    }

    /// None if one of the texts is not a number.
    pub fn of_texts(reference: &str, candidate: &str) -> Option<Self> {
        Some(Self::between(Scalar::parse(reference)?, Scalar::parse(candidate)?))
    }
}

/// The absolute difference of two numbers: 0 for equal ones and two NaNs, otherwise infinite if one is NaN or
/// infinite.
pub fn apart(left: f64, right: f64) -> f64 {
    if left == right || left.is_nan() && right.is_nan() {
        return 0.0;
    }
    let apart = (left - right).abs();
    if apart.is_nan() { f64::INFINITY } else { apart }
}

/// A value without rounding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    Whole(i128),
    Float(f64),
}

impl Scalar {
    fn parse(text: &str) -> Option<Self> {
        // A number beyond the integers of every dtype is compared as a float.
        let whole = text.parse().ok().filter(|number: &i128| number.unsigned_abs() < 1 << 100);
        whole.map(Self::Whole).or_else(|| text.parse().ok().map(Self::Float))
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
        }
    }
}

/// The dtypes whose values are read as numbers. Others, such as 8-bit floats, are compared by their bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F16,
    BF16,
    F32,
    F64,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
}

impl Element {
    pub fn of(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            Dtype::U8 | Dtype::BOOL => Self::U8,
            Dtype::U16 => Self::U16,
            Dtype::U32 => Self::U32,
            Dtype::U64 => Self::U64,
            Dtype::I8 => Self::I8,
            Dtype::I16 => Self::I16,
            Dtype::I32 => Self::I32,
            Dtype::I64 => Self::I64,
            _ => return None,
        })
    }

    /// The element with this name in PyTorch.
    pub fn of_torch(kind: &str) -> Option<Self> {
        Some(match kind {
            "float16" => Self::F16,
            "bfloat16" => Self::BF16,
            "float32" => Self::F32,
            "float64" => Self::F64,
            "uint8" | "bool" => Self::U8,
            "uint16" => Self::U16,
            "uint32" => Self::U32,
            "uint64" => Self::U64,
            "int8" => Self::I8,
            "int16" => Self::I16,
            "int32" => Self::I32,
            "int64" => Self::I64,
            _ => return None,
        })
    }

    /// In bytes.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::BF16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// The little-endian bytes of one element as a word.
    fn bits(self, bytes: &[u8]) -> u64 {
        bytes.iter().take(self.size()).rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    }

    /// The value of one element in its little-endian bytes.
    pub fn value(self, bytes: &[u8]) -> Scalar {
        let bits = self.bits(bytes);
        match self {
            Self::F16 => Scalar::Float(half(bits as u16)),
            Self::BF16 => Scalar::Float(f32::from_bits((bits as u32) << 16).into()),
            Self::F32 => Scalar::Float(f32::from_bits(bits as u32).into()),
            Self::F64 => Scalar::Float(f64::from_bits(bits)),
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Scalar::Whole(bits.into()),
            Self::I8 => Scalar::Whole((bits as i8).into()),
            Self::I16 => Scalar::Whole((bits as i16).into()),
            Self::I32 => Scalar::Whole((bits as i32).into()),
            Self::I64 => Scalar::Whole((bits as i64).into()),
        }
    }

    /// The value as Rust prints it; a NaN with its bits, in which NaNs can differ.
    pub fn shown(self, bytes: &[u8]) -> String {
        match self.value(bytes) {
            Scalar::Float(value) if value.is_nan() => {
                format!("NaN {:#0width$x}", self.bits(bytes), width = 2 + 2 * self.size())
            }
            // The fewest digits that identify an f32 also identify an f16 or a bf16.
            Scalar::Float(value) if self != Self::F64 => format!("{:?}", value as f32),
            value => value.to_string(),
        }
    }

    /// The distance in units in the last place; that of -0.0 and 0.0 is 1. None if it exceeds `MAX_ULPS`, a value is NaN or
    /// infinite, or they are integers.
    pub fn ulps(self, left: &[u8], right: &[u8]) -> Option<u64> {
        let step = |bytes: &[u8]| {
            let bits = self.bits(bytes);
            let sign = 1 << (8 * self.size() - 1);
            let magnitude = (bits & (sign - 1)) as i64;
            match self.value(bytes) {
                Scalar::Float(value) if value.is_finite() => {
                    Some(if bits & sign == 0 { magnitude } else { -1 - magnitude })
                }
                _ => None,
            }
        };
        Some(step(left)?.abs_diff(step(right)?)).filter(|&ulps| ulps <= MAX_ULPS)
    }
}

/// The value of an IEEE 754 binary16: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_decodes_ieee_754_binary16() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x0001, 2f64.powi(-24)),
            (0x03ff, 1023.0 * 2f64.powi(-24)),
            (0x0400, 2f64.powi(-14)),
            (0x3555, 0.333_251_953_125),
            (0x3c00, 1.0),
            (0x3c01, 1.0 + 2f64.powi(-10)),
            (0x7bff, 65504.0),
            (0x7c00, f64::INFINITY),
            (0xc000, -2.0),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x8000).is_sign_negative() && half(0x7e00).is_nan());
    }
}
