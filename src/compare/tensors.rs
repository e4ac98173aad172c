//! `*.safetensors`, tensor by tensor and bit by bit: -0.0 is not 0.0, and a NaN is identical to itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Serialize;

use super::differences::{Differences, apart};
use super::element::Element;
use super::{Options, Tolerance, count, differ};
use crate::util::text::shown;

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
    /// The first byte of those that differ, in a tensor whose values can't be told.
    Bytes(usize),
    Values(Box<ValuesDifference>),
}

/// In which values two tensors differ.
#[derive(Debug, Serialize)]
pub struct ValuesDifference {
    pub values: usize,
    pub differing: usize,
    /// By more than the tolerance allows.
    pub beyond_tolerance: usize,
    /// None if it is many, or a value is not finite.
    pub max_ulps: Option<u64>,
    pub first: Option<Value>,
    pub largest: Option<Value>,
    pub max_abs_difference: f64,
    pub mean_abs_difference: f64,
    #[serde(skip)]
    is_tolerant: bool,
    #[serde(skip)]
    pub sum_abs: f64,
}

/// A value on both sides.
#[derive(Debug, Serialize)]
pub struct Value {
    pub index: Vec<usize>,
    pub reference: f64,
    pub candidate: f64,
    /// Both as one writes them.
    #[serde(skip)]
    shown: [String; 2],
    /// By how much they differ, as far as more can be said than both values.
    #[serde(skip)]
    distance: String,
}

/// The tensors of two files, by the names that count.
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
        let is_free = new == name || tensors.tensor(&new).is_err() && !named.contains_key(&new);
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
    difference(Element::of(dtype), shape, reference.data(), candidate.data(), tolerance)
}

/// Of two tensors of one shape and kind.
pub fn difference(
    element: Option<Element>,
    shape: &[usize],
    reference: &[u8],
    candidate: &[u8],
    tolerance: Option<Tolerance>,
) -> Option<TensorDifference> {
    let byte = reference.iter().zip(candidate).position(|(left, right)| left != right)?;
    let Some(element) = element else { return Some(TensorDifference::Bytes(byte)) };
    let size = element.size();
    let (mut differences, mut max_ulps) = (Differences::new(tolerance), Some(0));
    let pairs = reference.chunks_exact(size).zip(candidate.chunks_exact(size)).enumerate();
    for (i, (a, b)) in pairs.filter(|(_, (a, b))| a != b) {
        let (left, right) = (element.value(a), element.value(b));
        differences.add(Some((left, right)), (i, a, b));
        max_ulps = max_ulps.and_then(|max| Some(element.ulps(left, right)?.max(max)));
    }
    let values = reference.len() / size;
    let value = |(i, a, b)| {
        let (reference, candidate) = (element.value(a), element.value(b));
        let (shown, distance) =
            ([element.shown(a), element.shown(b)], distance(element, reference, candidate));
        Value { index: unravel(i, shape), reference, candidate, shown, distance }
    };
    Some(TensorDifference::Values(Box::new(ValuesDifference {
        values,
        differing: differences.count,
        beyond_tolerance: differences.beyond,
        max_ulps,
        first: differences.first.map(value),
        largest: differences.largest.map(value),
        max_abs_difference: differences.max_abs,
        mean_abs_difference: differences.sum_abs / values as f64,
        is_tolerant: tolerance.is_some(),
        sum_abs: differences.sum_abs,
    })))
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
        let Self { values, differing, beyond_tolerance: beyond, .. } = self;
        if self.is_tolerant && *beyond == 0 {
            f.write_str("close: ")?;
        }
        f.write_str(&differ(*differing, *values, "value"))?;
        if self.is_tolerant {
            let (max, mean) = (self.max_abs_difference, self.mean_abs_difference);
            write!(f, ", by {max:.3e} at most, {mean:.3e} on average")?;
            if *beyond > 0 {
                write!(f, ", {beyond} by more than the tolerance")?;
            }
        } else if let Some(max_ulps) = self.max_ulps
            && *differing > 1
        {
            write!(f, ", by {} at most", count(max_ulps as usize, "ULP"))?;
        }
        if let Some(first) = &self.first {
            write!(f, "; first {first}")?;
        }
        match &self.largest {
            Some(largest) if *beyond > 1 => write!(f, "; largest {largest}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { index, shown: [reference, candidate], distance, .. } = self;
        write!(f, "at {index:?}: reference {reference}, candidate {candidate}{distance}")
    }
}

/// In ULPs, or relative to the larger value where it is many.
fn distance(element: Element, left: f64, right: f64) -> String {
    match element.ulps(left, right) {
        Some(ulps) => format!(" ({})", count(ulps as usize, "ULP")),
        None if element.is_float() && left.is_finite() && right.is_finite() => {
            format!(" (relative difference {:.1e})", apart(left, right) / left.abs().max(right.abs()))
        }
        None => String::new(),
    }
}
