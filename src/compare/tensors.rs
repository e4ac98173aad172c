//! `*.safetensors`, tensor by tensor and bit by bit: -0.0 is not 0.0, and a NaN is identical to itself.

use std::collections::BTreeSet;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::differences::{Differences, apart};
use super::{count, differ};
use crate::util::text::shown;

/// Of values further apart than one power of two is from the next, a relative difference says more.
const MOST_ULPS: u32 = 1 << 23;

/// How many tensors two files hold, how many of those differ, and a line on each.
pub struct TensorsDiff {
    pub all: usize,
    pub differing: usize,
    pub lines: String,
}

impl TensorsDiff {
    pub fn between(reference: &SafeTensors, candidate: &SafeTensors) -> TensorsDiff {
        let names: BTreeSet<&str> = reference.names().into_iter().chain(candidate.names()).collect();
        let mut diff = TensorsDiff { all: names.len(), differing: 0, lines: String::new() };
        for name in names {
            let (left, right) = (reference.tensor(name).ok(), candidate.tensor(name).ok());
            let shape = left.as_ref().or(right.as_ref()).map(TensorView::shape).unwrap_or_default();
            let difference = match (&left, &right) {
                (Some(left), Some(right)) => difference(left, right),
                (Some(_), None) => Some("only in the reference".to_owned()),
                _ => Some("only in the candidate".to_owned()),
            };
            diff.differing += usize::from(difference.is_some());
            let difference = difference.as_deref().unwrap_or("identical");
            diff.lines += &format!("\n    {} {shape:?}: {difference}", shown(name));
        }
        diff
    }
}

fn difference(reference: &TensorView, candidate: &TensorView) -> Option<String> {
    let [(dtype, shape), other] = [reference, candidate].map(|tensor| (tensor.dtype(), tensor.shape()));
    if (dtype, shape) != other {
        return Some(format!("reference {dtype} {shape:?}, candidate {} {:?}", other.0, other.1));
    }
    let (left, right) = (reference.data(), candidate.data());
    let byte = left.iter().zip(right).position(|(left, right)| left != right)?;
    if dtype != Dtype::F32 {
        return Some(format!("the bytes differ, first at byte {byte}"));
    }
    let (left, right) = (left.as_chunks().0, right.as_chunks().0);
    let mut differences = Differences::default();
    for (i, (a, b)) in left.iter().zip(right).enumerate().filter(|(_, (a, b))| a != b) {
        let (a, b) = (f32::from_le_bytes(*a), f32::from_le_bytes(*b));
        differences.add(Some(apart(a.into(), b.into())), (i, a, b));
    }
    let mut told = differ(differences.count, left.len(), "value");
    for (which, (i, a, b)) in differences.named() {
        let (index, distance) = (unravel(i, shape), distance(a, b));
        told += &format!("; {which} at {index:?}: reference {}, candidate {}{distance}", value(a), value(b));
    }
    Some(told)
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

/// In ULPs, the steps to the next representable number that lead from one value to the other; -0.0 and 0.0 are one step
/// apart. Nothing if one of them is NaN or infinite.
fn distance(left: f32, right: f32) -> String {
    if !left.is_finite() || !right.is_finite() {
        return String::new();
    }
    let step = |value: f32| {
        let magnitude = value.abs().to_bits() as i32;
        if value.is_sign_negative() { -1 - magnitude } else { magnitude }
    };
    let ulps = step(left).abs_diff(step(right));
    if ulps <= MOST_ULPS {
        return format!(" ({})", count(ulps as usize, "ULP"));
    }
    let largest = f64::from(left.abs().max(right.abs()));
    format!(" (relative difference {:.2})", apart(left.into(), right.into()) / largest)
}

/// As Rust writes it; with its bits if it is a NaN, which can differ from another.
fn value(value: f32) -> String {
    if value.is_nan() { format!("NaN {:#010x}", value.to_bits()) } else { format!("{value:?}") }
}
