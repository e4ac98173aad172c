//! One element of a tensor, and how far it is from another.
//!
//! Two f32 are n ULPs apart if n steps to the next representable number lead from one to the other; -0.0 and 0.0
//! are one step apart, so that differing bits are never 0 ULPs apart.

use std::fmt;

use safetensors::Dtype;

#[derive(Clone, Copy, Debug)]
pub enum Value {
    F32(f32),
    F64(f64),
    Integer(i128),
    /// Any other dtype: the notebook's models have none.
    Bits(u64),
}

impl Value {
    pub fn read(dtype: Dtype, bytes: &[u8]) -> Value {
        let bits = bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
        let unused = 64 - 8 * bytes.len() as u32;
        match dtype {
            Dtype::F32 => Value::F32(f32::from_bits(bits as u32)),
            Dtype::F64 => Value::F64(f64::from_bits(bits)),
            Dtype::BOOL | Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => Value::Integer(bits.into()),
            Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => {
                Value::Integer(((bits << unused) as i64 >> unused).into())
            }
            _ => Value::Bits(bits),
        }
    }

    /// By how much two values of one dtype differ; infinite where one of them is NaN or infinite.
    pub fn distance(self, other: Value) -> f64 {
        let distance = match (self, other) {
            (Value::F32(a), Value::F32(b)) => (f64::from(a) - f64::from(b)).abs(),
            (Value::F64(a), Value::F64(b)) => (a - b).abs(),
            (Value::Integer(a), Value::Integer(b)) => (a - b).abs() as f64,
            _ => 0.0,
        };
        if distance.is_nan() { f64::INFINITY } else { distance }
    }

    pub fn ulps(self, other: Value) -> Option<usize> {
        let step = |value: f32| {
            let bits = i64::from(value.to_bits() & !(1 << 31));
            if value.is_sign_negative() { -1 - bits } else { bits }
        };
        match (self, other) {
            (Value::F32(a), Value::F32(b)) if !a.is_nan() && !b.is_nan() => {
                Some(step(a).abs_diff(step(b)) as usize)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // One NaN can differ from another.
            Value::F32(value) if value.is_nan() => write!(f, "NaN {:#010x}", value.to_bits()),
            Value::F64(value) if value.is_nan() => write!(f, "NaN {:#018x}", value.to_bits()),
            Value::F32(value) => write!(f, "{value:?}"),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Bits(value) => write!(f, "bits {value:#x}"),
        }
    }
}
