//! `*.safetensors`, tensor by tensor and bit by bit: -0.0 is not 0.0, and a NaN is identical to itself.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, anyhow, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::value::Value;
use super::{Side, count, differ, text};

/// The header of the notebook's models has 500 bytes. The parser needs many times the header's own size, and lets
/// it have 100 MB.
const LONGEST_HEADER: u64 = 1 << 20;

/// More digits than any offset into a file has.
const MOST_DIGITS: usize = 18;

#[derive(Debug)]
pub struct Tensors {
    tensors: Vec<Tensor>,
    same_bytes: bool,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    finding: Finding,
}

#[derive(Debug)]
enum Finding {
    Identical,
    OnlyIn(Side),
    /// Dtype or shape, in the reference and in the candidate.
    Layout(String, String),
    Values {
        differing: usize,
        all: usize,
        first: Difference,
        largest: Difference,
    },
}

#[derive(Clone, Debug)]
struct Difference {
    index: Vec<usize>,
    reference: Value,
    candidate: Value,
}

/// Parses a file of any content without a panic and with no more memory than some times its header.
pub fn open(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    if let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u64::from_le_bytes(*length);
        ensure!(length <= LONGEST_HEADER, "its header claims {length} bytes, more than {LONGEST_HEADER}");
        let header = &rest[..rest.len().min(length as usize)];
        ensure!(
            longest_number(header) <= MOST_DIGITS,
            "its header names an offset or a size beyond any file"
        );
    }
    let refused =
        |error| anyhow!("not a valid safetensors file: {}", text::excerpt(format!("{error}").as_bytes(), 0));
    SafeTensors::deserialize(bytes).map_err(refused)
}

/// Digits of the longest number outside the JSON strings. safetensors 0.8 adds up the last offset and the header's
/// length unchecked, which overflows, and so panics in a debug build, for offsets near 2^64.
fn longest_number(header: &[u8]) -> usize {
    let (mut in_string, mut escaped, mut digits, mut longest) = (false, false, 0, 0);
    for byte in header {
        digits = if byte.is_ascii_digit() && !in_string { digits + 1 } else { 0 };
        longest = longest.max(digits);
        in_string ^= *byte == b'"' && !escaped;
        escaped = in_string && *byte == b'\\' && !escaped;
    }
    longest
}

impl Tensors {
    pub fn compare(reference: &SafeTensors, candidate: &SafeTensors, same_bytes: bool) -> Tensors {
        let names: BTreeSet<&str> = reference.names().into_iter().chain(candidate.names()).collect();
        let tensor = |name: &str| {
            let (left, right) = (reference.tensor(name).ok(), candidate.tensor(name).ok());
            let shape = left.as_ref().or(right.as_ref()).map_or(Vec::new(), |tensor| tensor.shape().to_vec());
            let finding = match (left, right) {
                (Some(left), Some(right)) => Finding::of(&left, &right),
                (Some(_), None) => Finding::OnlyIn(Side::Reference),
                _ => Finding::OnlyIn(Side::Candidate),
            };
            Tensor { name: text::shown(name), shape, finding }
        };
        Tensors { tensors: names.into_iter().map(tensor).collect(), same_bytes }
    }

    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    pub fn differing(&self) -> usize {
        self.tensors.iter().filter(|tensor| !matches!(tensor.finding, Finding::Identical)).count()
    }
}

impl Finding {
    fn of(reference: &TensorView, candidate: &TensorView) -> Finding {
        if reference.dtype() != candidate.dtype() {
            return Finding::Layout(reference.dtype().to_string(), candidate.dtype().to_string());
        }
        if reference.shape() != candidate.shape() {
            return Finding::Layout(format!("{:?}", reference.shape()), format!("{:?}", candidate.shape()));
        }
        let dtype = reference.dtype();
        // Two elements of a 4-bit dtype share a byte, four of a 6-bit one share three: those are compared as bytes.
        let (width, shape) = match dtype.bitsize() {
            bits if bits % 8 == 0 => (bits / 8, reference.shape()),
            _ => (1, &[reference.data().len()][..]),
        };
        let elements = reference.data().chunks_exact(width).zip(candidate.data().chunks_exact(width));
        let (mut differing, mut largest_distance) = (0, -1.0);
        let (mut first, mut largest) = (None, None);
        for (i, (left, right)) in elements.enumerate().filter(|(_, (left, right))| left != right) {
            differing += 1;
            let (reference, candidate) = (Value::read(dtype, left), Value::read(dtype, right));
            let distance = reference.distance(candidate);
            first.get_or_insert((i, reference, candidate));
            if distance > largest_distance {
                (largest_distance, largest) = (distance, Some((i, reference, candidate)));
            }
        }
        let difference =
            |(i, reference, candidate)| Difference { index: unravel(i, shape), reference, candidate };
        match (first.map(difference), largest.map(difference)) {
            (Some(first), Some(largest)) => {
                let all = reference.data().len() / width;
                Finding::Values { differing, all, first, largest }
            }
            _ => Finding::Identical,
        }
    }
}

/// The index in each dimension of the `i`-th element, the last dimension running fastest.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, size) in index.iter_mut().zip(shape).rev() {
        // No element has an index in an empty dimension, so no size is 0 here.
        (*place, i) = (i % size, i / size);
    }
    index
}

impl fmt::Display for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, differing) = (count(self.len(), "tensor"), self.differing());
        match (differing, self.same_bytes) {
            (0, true) => write!(f, "identical ({all})")?,
            (0, false) => write!(f, "identical ({all}; same tensors, another header)")?,
            _ => write!(f, "{differing} of {all} {}", differ(differing))?,
        }
        self.tensors.iter().try_for_each(|tensor| write!(f, "\n    {tensor}"))
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: ", self.name, self.shape)?;
        match &self.finding {
            Finding::Identical => write!(f, "identical"),
            Finding::OnlyIn(side) => write!(f, "only in the {side}"),
            Finding::Layout(reference, candidate) => {
                write!(f, "reference {reference}, candidate {candidate}")
            }
            Finding::Values { differing, all, first, largest } => {
                write!(f, "{differing} of {} {}", count(*all, "value"), differ(*differing))?;
                write!(f, "; first at {first}; largest at {largest}")
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { index, reference, candidate } = self;
        write!(f, "{index:?}: reference {reference}, candidate {candidate}")?;
        reference.ulps(*candidate).map_or(Ok(()), |ulps| write!(f, " ({})", count(ulps, "ULP")))
    }
}
