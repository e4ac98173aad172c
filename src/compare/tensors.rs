//! `*.safetensors`, tensor by tensor and bit by bit: -0.0 is not 0.0, and a NaN is identical to itself.

use std::collections::BTreeSet;
use std::fmt;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::value::Value;
use super::{Side, count, differ};
use crate::util::text::shown;

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
            Tensor { name: shown(name), shape, finding }
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
