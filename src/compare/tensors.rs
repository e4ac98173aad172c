//! `*.safetensors`, tensor by tensor and bit by bit: -0.0 is not 0.0, and a NaN is identical to itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::differences::{Differences, apart};
use super::{Options, Tolerance, count, differ};
use crate::util::text::shown;

/// Of values further apart than this a relative difference says more.
const MOST_ULPS: u32 = 9_999;

/// A tensor that both sides have, or one of them.
#[derive(Debug, Serialize)]
pub struct TensorReport {
    pub name: String,
    pub shape: Vec<usize>,
    /// None if it is identical.
    pub difference: Option<TensorDifference>,
}

/// How a tensor differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorDifference {
    OnlyInReference,
    OnlyInCandidate,
    /// Another dtype or shape: the reference's and the candidate's.
    Layout(String, String),
    /// The first byte of those that differ, in a tensor of no f32.
    Bytes(usize),
    Values(ValuesDifference),
}

/// In which values two f32 tensors differ.
#[derive(Debug, Serialize)]
pub struct ValuesDifference {
    pub values: usize,
    pub differing: usize,
    /// By more than the tolerance allows.
    pub beyond_tolerance: usize,
    /// None if it is many, or a value is not finite.
    pub max_ulps: Option<u32>,
    pub first: Option<Value>,
    pub largest: Option<Value>,
    pub max_abs_difference: f64,
    pub mean_abs_difference: f64,
    #[serde(skip)]
    pub sum_abs: f64,
}

/// A value on both sides.
#[derive(Debug, Serialize)]
pub struct Value {
    pub index: Vec<usize>,
    pub reference: f32,
    pub candidate: f32,
}

/// The tensors of two files. Those that the reference knows by another name count as the same.
pub fn between(reference: &SafeTensors, candidate: &SafeTensors, options: &Options) -> Vec<TensorReport> {
    let (left, right) = (named(reference, options.rename), named(candidate, options.rename));
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let report = |name: &String| {
        let (left, right) = (left.get(name), right.get(name));
        let shape = left.or(right).map(TensorView::shape).unwrap_or_default().to_vec();
        let difference = match (left, right) {
            (Some(left), Some(right)) => difference_of_views(left, right, options.tolerance),
            (Some(_), None) => Some(TensorDifference::OnlyInReference),
            _ => Some(TensorDifference::OnlyInCandidate),
        };
        TensorReport { name: shown(name), shape, difference }
    };
    names.into_iter().map(report).collect()
}

/// The tensors by the names that count. Two names of one tensor count once, if they have the same bytes.
fn named<'a>(tensors: &SafeTensors<'a>, rename: fn(&str) -> String) -> BTreeMap<String, TensorView<'a>> {
    let mut named: BTreeMap<String, TensorView> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let new = rename(name);
        let is_free = new == name || tensors.tensor(&new).is_err_and(|_| !named.contains_key(&new));
        let is_same = |other: TensorView| {
            (other.dtype(), other.shape(), other.data()) == (view.dtype(), view.shape(), view.data())
        };
        if is_free {
            named.insert(new, view);
        } else if !tensors.tensor(&new).is_ok_and(is_same) {
            named.insert(name.to_string(), view);
        }
    }
    named
}

fn difference_of_views(
    reference: &TensorView,
    candidate: &TensorView,
    tolerance: Option<Tolerance>,
) -> Option<TensorDifference> {
    let [(dtype, shape), other] = [reference, candidate].map(|tensor| (tensor.dtype(), tensor.shape()));
    if (dtype, shape) != other {
        let layout = |(dtype, shape)| format!("{dtype} {shape:?}");
        return Some(TensorDifference::Layout(layout((dtype, shape)), layout(other)));
    }
    difference(dtype == Dtype::F32, shape, reference.data(), candidate.data(), tolerance)
}

/// Of two tensors of one shape and dtype.
pub fn difference(
    is_f32: bool,
    shape: &[usize],
    reference: &[u8],
    candidate: &[u8],
    tolerance: Option<Tolerance>,
) -> Option<TensorDifference> {
    let byte = reference.iter().zip(candidate).position(|(left, right)| left != right)?;
    if !is_f32 {
        return Some(TensorDifference::Bytes(byte));
    }
    let (left, right) = (reference.as_chunks().0, candidate.as_chunks().0);
    let (mut differences, mut max_ulps) = (Differences::new(tolerance), Some(0));
    for (i, (a, b)) in left.iter().zip(right).enumerate().filter(|(_, (a, b))| a != b) {
        let (a, b) = (f32::from_le_bytes(*a), f32::from_le_bytes(*b));
        differences.add(Some((a.into(), b.into())), (i, a, b));
        max_ulps = max_ulps.and_then(|max| Some(ulps(a, b)?.max(max)));
    }
    let value = |(i, reference, candidate)| Value { index: unravel(i, shape), reference, candidate };
    Some(TensorDifference::Values(ValuesDifference {
        values: left.len(),
        differing: differences.count,
        beyond_tolerance: differences.beyond,
        max_ulps,
        first: differences.first.map(value),
        largest: differences.largest.map(value),
        max_abs_difference: differences.max_abs,
        mean_abs_difference: differences.sum_abs / left.len() as f64,
        sum_abs: differences.sum_abs,
    }))
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

/// The steps to the next representable number that lead from one value to the other; -0.0 and 0.0 are one step apart.
/// None if it is many, or one of them is NaN or infinite.
fn ulps(left: f32, right: f32) -> Option<u32> {
    let step = |value: f32| {
        let magnitude = value.abs().to_bits() as i32;
        if value.is_sign_negative() { -1 - magnitude } else { magnitude }
    };
    let is_finite = left.is_finite() && right.is_finite();
    is_finite.then(|| step(left).abs_diff(step(right))).filter(|&ulps| ulps <= MOST_ULPS)
}

impl TensorDifference {
    /// Whether the tolerance allows for every difference.
    pub fn is_close(&self) -> bool {
        matches!(self, Self::Values(values) if values.beyond_tolerance == 0)
    }
}

impl fmt::Display for TensorReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {:?}: ", self.name, self.shape)?;
        match &self.difference {
            None => f.write_str("identical"),
            Some(difference) => write!(f, "{difference}"),
        }
    }
}

impl fmt::Display for TensorDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::OnlyInReference => f.write_str("only in the reference"),
            Self::OnlyInCandidate => f.write_str("only in the candidate"),
            Self::Layout(reference, candidate) => write!(f, "reference {reference}, candidate {candidate}"),
            Self::Bytes(first) => write!(f, "the bytes differ, first at byte {first}"),
            Self::Values(values) => write!(f, "{values}"),
        }
    }
}

impl fmt::Display for ValuesDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { values, differing, beyond_tolerance, max_abs_difference, mean_abs_difference, .. } = self;
        if *beyond_tolerance < *differing {
            let what = if *beyond_tolerance == 0 { "close" } else { "not close" };
            write!(f, "{what}: {}, ", differ(*differing, *values, "value"))?;
            if *beyond_tolerance > 0 {
                write!(f, "{beyond_tolerance} by more than the tolerance, ")?;
            }
            write!(f, "by {max_abs_difference:.3e} at most, {mean_abs_difference:.3e} on average")?;
        } else {
            f.write_str(&differ(*differing, *values, "value"))?;
        }
        if *beyond_tolerance == 0 {
            return Ok(());
        }
        if let Some(max_ulps) = self.max_ulps
            && *differing > 1
        {
            write!(f, ", by {} at most", count(max_ulps as usize, "ULP"))?;
        }
        if let Some(first) = &self.first {
            write!(f, "; first {first}")?;
        }
        match &self.largest {
            Some(largest) if *beyond_tolerance > 1 => write!(f, "; largest {largest}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { index, reference, candidate } = self;
        let (left, right) = (*reference, *candidate);
        write!(f, "at {index:?}: reference {}, candidate {}", exactly(left), exactly(right))?;
        match ulps(left, right) {
            Some(ulps) => write!(f, " ({})", count(ulps as usize, "ULP")),
            None if left.is_finite() && right.is_finite() => {
                let largest = f64::from(left.abs().max(right.abs()));
                write!(f, " (relative difference {:.1e})", apart(left.into(), right.into()) / largest)
            }
            None => Ok(()),
        }
    }
}

/// As Rust writes it; with its bits if it is a NaN, which can differ from another.
fn exactly(value: f32) -> String {
    if value.is_nan() { format!("NaN {:#010x}", value.to_bits()) } else { format!("{value:?}") }
}
