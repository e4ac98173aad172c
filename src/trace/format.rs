//! The lines of a trace, which are JSON, and the errors of traces. docs/trace.md describes the lines.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tch::Kind;
use xxhash_rust::xxh3::xxh3_64;

use super::sketch::Signs;
use crate::torch::{self, Machine};
use crate::util::file;

/// The format that this version writes. Format 1 has no sketches of quantities.
pub const FORMAT: u32 = 2;

/// The kinds that a trace can record, with their names in Python.
const KINDS: [(Kind, &str); 10] = [
    (Kind::Uint8, "uint8"),
    (Kind::Int8, "int8"),
    (Kind::Int16, "int16"),
    (Kind::Int, "int32"),
    (Kind::Int64, "int64"),
    (Kind::Half, "float16"),
    (Kind::BFloat16, "bfloat16"),
    (Kind::Float, "float32"),
    (Kind::Double, "float64"),
    (Kind::Bool, "bool"),
];

/// The kind's name in Python; none if a trace can't record it.
pub fn dtype(kind: Kind) -> Option<&'static str> {
    KINDS.iter().find(|(traced, _)| *traced == kind).map(|(_, name)| *name)
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    pub trace: u32,
    /// Optional when reading, so that the number of an unknown format can be reported.
    #[serde(default)]
    pub written_by: String,
    /// libtorch's number of threads.
    #[serde(default)]
    pub threads: Value,
    /// A [`Machine`] in what islp-mnist writes.
    #[serde(default)]
    pub environment: Value,
}

impl Header {
    /// The header of a trace by this process.
    pub fn current() -> Self {
        Self {
            trace: FORMAT,
            written_by: concat!("islp-mnist ", env!("CARGO_PKG_VERSION")).into(),
            threads: tch::get_num_threads().into(),
            environment: serde_json::to_value(Machine::current()).expect("a machine goes into JSON"),
        }
    }
}

/// Any other line: a step of a training.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// The index of the training in the file, from 0.
    pub fit: usize,
    /// The model's class.
    pub model: String,
    pub epoch: usize,
    /// Counted over all epochs, from 0.
    pub step: usize,
    /// The changes in the state since the step before.
    pub before: Vec<Quantity>,
    /// The step's quantities, then the state after it; empty at the end of a training.
    pub quantities: Vec<Quantity>,
}

impl Step {
    /// True if this line is the end of a training instead of a step.
    pub fn is_end(&self) -> bool {
        self.quantities.is_empty()
    }
}

/// A tensor's hash and statistics.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quantity {
    pub name: String,
    /// The dtype's name in Python.
    pub kind: String,
    pub shape: Vec<usize>,
    /// 64-bit XXH3 of the bytes, in hexadecimal.
    pub xxh3: String,
    pub min: Number,
    pub max: Number,
    pub mean: Number,
    /// See `Signs`, in base64; none in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<String>,
    /// The bytes in base64, if they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// True after [`Quantity::forget`].
    #[serde(skip)]
    pub is_forgotten: bool,
}

impl Quantity {
    /// Puts other values in the place of those that were kept.
    pub fn replace(&mut self, bytes: &[u8], values: Vec<f64>) {
        self.xxh3 = hash(bytes);
        self.sketch = Some(Signs::default().sketch_of(&values));
        self.data = Some(STANDARD.encode(bytes));
    }

    /// Drops the hash and the sketch, so that nothing is known about the values but their range and mean.
    pub fn forget(&mut self) {
        (self.xxh3, self.sketch, self.is_forgotten) = (String::new(), None, true);
    }

    /// The bytes, if they are kept and their number matches the shape with elements of `size` bytes.
    pub fn bytes(&self, size: usize) -> Option<Vec<u8>> {
        let length = self.shape.iter().try_fold(size, |bytes: usize, &length| bytes.checked_mul(length))?;
        STANDARD.decode(self.data.as_ref()?).ok().filter(|bytes| bytes.len() == length)
    }
}

/// A number in JSON; NaN and the infinities are the strings `nan`, `inf` and `-inf`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.collect_str(&self.0.to_string().to_lowercase())
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, \"nan\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }

            fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_bool<E>(self, value: bool) -> Result<f64, E> {
                Ok(f64::from(u8::from(value)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
                text.parse().map_err(|_| E::custom("not a number"))
            }
        }
        deserializer.deserialize_any(Either).map(Self).map_err(D::Error::custom)
    }
}

/// The hash of a tensor's bytes.
pub fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// An error of writing or reading a trace.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("{}: already exists; a trace is written to a new file", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error(transparent)]
    Torch(#[from] torch::Error),
    #[error("{name} is of kind {kind:?}, which a trace can't record")]
    Kind { name: String, kind: Kind },
    #[error("{}: not a trace: {reason}", path.display())]
    NotATrace { path: PathBuf, reason: String },
    #[error("{}: a trace of format {format}, which this version does not read", path.display())]
    Format { path: PathBuf, format: u32 },
    #[error("{}, line {line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: String },
}
