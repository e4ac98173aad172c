//! The elements of a tensor, as numbers.

use safetensors::Dtype;

/// Of values further apart than this a relative difference says more.
const MOST_ULPS: u64 = 9_999;

/// The kinds whose values can be told; of others only that bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    F64,
    U8,
    I32,
    I64,
}

impl Element {
    pub fn of(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            Dtype::U8 | Dtype::BOOL => Self::U8,
            Dtype::I32 => Self::I32,
            Dtype::I64 => Self::I64,
            _ => return None,
        })
    }

    /// By PyTorch's name.
    pub fn of_torch(kind: &str) -> Option<Self> {
        Some(match kind {
            "float32" => Self::F32,
            "float64" => Self::F64,
            "uint8" | "bool" => Self::U8,
            "int32" => Self::I32,
            "int64" => Self::I64,
            _ => return None,
        })
    }

    pub fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The value in as many bytes, which are little-endian.
    pub fn value(self, bytes: &[u8]) -> f64 {
        let word = || bytes.try_into().unwrap_or_default();
        let long = || bytes.try_into().unwrap_or_default();
        match self {
            Self::U8 => f64::from(bytes[0]),
            Self::I32 => f64::from(i32::from_le_bytes(word())),
            Self::F32 => f64::from(f32::from_le_bytes(word())),
            Self::F64 => f64::from_le_bytes(long()),
            Self::I64 => i64::from_le_bytes(long()) as f64,
        }
    }

    /// As Rust writes it; with its bits if it is a NaN, which can differ from another.
    pub fn shown(self, bytes: &[u8]) -> String {
        let value = self.value(bytes);
        match self {
            Self::F32 if value.is_nan() => {
                format!("NaN {:#010x}", u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
            }
            Self::F64 if value.is_nan() => {
                format!("NaN {:#018x}", u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            }
            Self::F32 => format!("{:?}", value as f32),
            Self::F64 => format!("{value:?}"),
            Self::U8 | Self::I32 => format!("{value}"),
            Self::I64 => i64::from_le_bytes(bytes.try_into().unwrap_or_default()).to_string(),
        }
    }

    /// The steps to the next representable number that lead from one value to the other; -0.0 and 0.0 are one step apart.
    /// None if it is many, one of them is NaN or infinite, or they are whole numbers.
    pub fn ulps(self, left: f64, right: f64) -> Option<u64> {
        if !left.is_finite() || !right.is_finite() {
            return None;
        }
        let signed = |magnitude: i64, value: f64| {
            if value.is_sign_negative() { -1 - magnitude } else { magnitude }
        };
        let step = |value: f64| match self {
            Self::F32 => Some(signed(i64::from((value as f32).abs().to_bits()), value)),
            Self::F64 => Some(signed(value.abs().to_bits() as i64, value)),
            _ => None,
        };
        Some(step(left)?.abs_diff(step(right)?)).filter(|&ulps| ulps <= MOST_ULPS)
    }
}
