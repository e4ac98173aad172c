//! The elements of a tensor, as numbers.

use std::fmt;

use safetensors::Dtype;
use serde::Serialize;

/// Of values further apart than this a relative difference says more.
const MAX_ULPS: u64 = 9_999;

/// The kinds whose values can be told; of others, such as those of 8 bits and less with a fraction, only that bytes differ.
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

/// A value, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    Whole(i128),
    Float(f64),
}

/// Two numbers held against each other.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    pub reference: f64,
    /// By how much they differ: infinite if only one of them is finite, or a NaN. Of whole numbers the difference is
    /// taken exactly: as f64 2^53 and 2^53 + 1 would be one number.
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

    /// None if one of the texts is no number.
    pub fn of_texts(reference: &str, candidate: &str) -> Option<Self> {
        Some(Self::between(Scalar::parse(reference)?, Scalar::parse(candidate)?))
    }
}

/// By how much two numbers differ: infinite if only one of them is finite, or a NaN.
pub fn apart(left: f64, right: f64) -> f64 {
    if left == right || left.is_nan() && right.is_nan() {
        return 0.0;
    }
    let apart = (left - right).abs();
    if apart.is_nan() { f64::INFINITY } else { apart }
}

impl Scalar {
    fn parse(text: &str) -> Option<Self> {
        // Digits beyond those of any whole number here are told from each other as floats, as far as these go.
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

    /// By PyTorch's name.
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

    /// As many bytes, which are little-endian, as one word.
    fn bits(self, bytes: &[u8]) -> u64 {
        bytes.iter().take(self.size()).rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    }

    /// The value in as many bytes, which are little-endian.
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

    /// As Rust writes it; with its bits if it is a NaN, which can differ from another.
    pub fn shown(self, bytes: &[u8]) -> String {
        match self.value(bytes) {
            Scalar::Float(value) if value.is_nan() => {
                format!("NaN {:#0width$x}", self.bits(bytes), width = 2 + 2 * self.size())
            }
            // The fewest digits that make an f32; they also make the shorter kinds.
            Scalar::Float(value) if self != Self::F64 => format!("{:?}", value as f32),
            value => value.to_string(),
        }
    }

    /// The steps to the next representable number that lead from one value to the other; -0.0 and 0.0 are one step apart.
    /// None if it is many, one of them is NaN or infinite, or they are whole numbers.
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
    fn halves_are_the_numbers_of_ieee_754() {
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
