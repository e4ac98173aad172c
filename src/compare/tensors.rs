//! `*.safetensors`, tensor by tensor and bit by bit: -0.0 differs from 0.0, and a NaN is identical to itself.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::numbers::{Differences, Element, Gap, Scalar, Size, Tolerance, apart};
use super::translation::{Translation, transposed};
use super::verdict::{Error, Finding, Verdict, differ};
use crate::torch::state_dict::{self, names};
use crate::util::text::{count, shown};

/// The result of comparing two files of tensors.
#[derive(Debug, Serialize)]
pub struct Tensors {
    /// True if the files' bytes differ; if all tensors are identical, only the header differs.
    is_other_header: bool,
    pub tensors: Vec<TensorReport>,
}

/// A tensor that one side or both have.
#[derive(Debug, Serialize)]
pub struct TensorReport {
    pub name: String,
    pub shape: Vec<usize>,
    /// None if it is identical.
    pub difference: Option<TensorDifference>,
    /// Its name in the reference's file, or in the candidate's if only that has it.
    #[serde(skip)]
    pub written: String,
    /// True if a checkpoint has it in addition to the weights.
    #[serde(skip)]
    is_state: bool,
}

/// The difference between the two sides of a tensor.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorDifference {
    OnlyInReference,
    OnlyInCandidate,
    /// Another dtype or shape: the reference's and the candidate's.
    Layout(String, String),
    /// The first byte that differs, in a tensor whose values are not read as numbers.
    Bytes {
        first: usize,
        kind: String,
        /// True if a tolerance was asked for, which does not apply here.
        #[serde(skip)]
        is_tolerant: bool,
    },
    Values(Box<ValuesDifference>),
}

/// The values in which two tensors differ.
#[derive(Debug, Serialize)]
pub struct ValuesDifference {
    values: usize,
    differing: usize,
    /// The number of values that differ by more than the tolerance.
    beyond_tolerance: usize,
    /// None if it is large, or a value is not finite.
    max_ulps: Option<u64>,
    first: Option<Value>,
    largest: Option<Value>,
    max_abs_difference: f64,
    mean_abs_difference: f64,
    #[serde(skip)]
    is_tolerant: bool,
    #[serde(skip)]
    sum_abs: f64,
}

/// A value on both sides.
#[derive(Debug, Serialize)]
struct Value {
    index: Vec<usize>,
    reference: Scalar,
    candidate: Scalar,
    /// Both as text.
    #[serde(skip)]
    shown: [String; 2],
    /// In parentheses; empty if the values are enough.
    #[serde(skip)]
    distance: String,
}

impl Tensors {
    /// Compares the tensors of two files by their main names.
    pub fn between(
        reference: &BTreeMap<String, Named>,
        candidate: &BTreeMap<String, Named>,
        is_other_header: bool,
        tolerance: Option<Tolerance>,
    ) -> Self {
        let names: BTreeSet<&String> = reference.keys().chain(candidate.keys()).collect();
        let report = |name: &String| {
            let sides = (reference.get(name), candidate.get(name));
            let tensor = sides.0.or(sides.1)?;
            let difference = match sides {
                (Some(left), Some(right)) => difference_of(left, right, tolerance),
                (Some(_), None) => Some(TensorDifference::OnlyInReference),
                _ => Some(TensorDifference::OnlyInCandidate),
            };
            Some(TensorReport {
                name: shown(name),
                shape: tensor.shape.clone(),
                difference,
                written: tensor.written.clone(),
                is_state: tensor.is_state,
            })
        };
        Self { is_other_header, tensors: names.into_iter().filter_map(report).collect() }
    }

    /// Drops a checkpoint's states of optimizer and generator.
    pub fn drop_states(&mut self) {
        self.tensors.retain(|tensor| !tensor.is_state);
    }
}

impl Finding for Tensors {
    fn verdict(&self) -> Verdict {
        self.tensors.iter().map(Finding::verdict).max().unwrap_or(Verdict::Identical)
    }

    fn size(&self) -> Size {
        self.tensors.iter().map(Finding::size).sum()
    }
}

impl fmt::Display for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { is_other_header, tensors } = self;
        let differing = tensors.iter().filter(|tensor| tensor.difference.is_some()).count();
        let header = if *is_other_header { "; same tensors, different header" } else { "" };
        match self.verdict() {
            Verdict::Identical => write!(f, "identical ({}{header})", count(tensors.len(), "tensor"))?,
            Verdict::Close => write!(f, "close: {}", differ(differing, tensors.len(), "tensor"))?,
            _ => f.write_str(&differ(differing, tensors.len(), "tensor"))?,
        }
        tensors.iter().try_for_each(|tensor| write!(f, "\n    {tensor}"))
    }
}

impl Finding for TensorReport {
    fn verdict(&self) -> Verdict {
        match &self.difference {
            None => Verdict::Identical,
            Some(TensorDifference::Values(values)) if values.beyond_tolerance == 0 => Verdict::Close,
            Some(_) => Verdict::Different,
        }
    }

    fn size(&self) -> Size {
        match &self.difference {
            Some(TensorDifference::Values(values)) => {
                Size { count: values.differing, max_abs: values.max_abs_difference, sum_abs: values.sum_abs }
            }
            _ => Size::default(),
        }
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
            Self::Bytes { first, kind, is_tolerant } => {
                write!(f, "the bytes differ, first at byte {first}")?;
                if *is_tolerant {
                    write!(f, "; the tolerance does not apply: values of {kind} are not read as numbers")?;
                }
                Ok(())
            }
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

fn difference_of(
    reference: &Named,
    candidate: &Named,
    tolerance: Option<Tolerance>,
) -> Option<TensorDifference> {
    let Named { dtype, shape, data, .. } = reference;
    if (dtype, shape) != (&candidate.dtype, &candidate.shape) {
        let layout = |Named { dtype, shape, .. }: &Named| format!("{dtype} {shape:?}");
        return Some(TensorDifference::Layout(layout(reference), layout(candidate)));
    }
    difference(&dtype.to_string(), Element::of(*dtype), shape, [data, &candidate.data], tolerance)
}

/// Compares the bytes of the reference's and the candidate's tensor, which have the same shape and dtype, the `kind`.
pub fn difference(
    kind: &str,
    element: Option<Element>,
    shape: &[usize],
    [reference, candidate]: [&[u8]; 2],
    tolerance: Option<Tolerance>,
) -> Option<TensorDifference> {
    let first = reference.iter().zip(candidate).position(|(left, right)| left != right)?;
    let Some(element) = element else {
        let kind = kind.to_owned();
        return Some(TensorDifference::Bytes { first, kind, is_tolerant: tolerance.is_some() });
    };
    let size = element.size();
    let (mut differences, mut max_ulps) = (Differences::new(tolerance), Some(0));
    let pairs = reference.chunks_exact(size).zip(candidate.chunks_exact(size)).enumerate();
    for (i, (a, b)) in pairs.filter(|(_, (a, b))| a != b) {
        differences.add(Some(Gap::between(element.value(a), element.value(b))), (i, a, b));
        max_ulps = max_ulps.and_then(|max| Some(element.ulps(a, b)?.max(max)));
    }
    let values = reference.len() / size;
    let value = |(i, a, b)| {
        let (reference, candidate) = (element.value(a), element.value(b));
        let shown = [element.shown(a), element.shown(b)];
        Value { index: unravel(i, shape), reference, candidate, shown, distance: distance(element, a, b) }
    };
    let Size { count: differing, max_abs, sum_abs } = differences.size;
    Some(TensorDifference::Values(Box::new(ValuesDifference {
        values,
        differing,
        beyond_tolerance: differences.beyond,
        max_ulps,
        first: differences.first.map(value),
        largest: differences.largest.map(value),
        max_abs_difference: max_abs,
        mean_abs_difference: sum_abs / values as f64,
        is_tolerant: tolerance.is_some(),
        sum_abs,
    })))
}

/// The index in each dimension of the `i`-th element, like `numpy.unravel_index`.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, size) in index.iter_mut().zip(shape).rev() {
        // A tensor that has an element has no empty dimension, so no size is 0.
        (*place, i) = (i % size, i / size);
    }
    index
}

/// Formats the distance in ULPs or, if it is too large, relative to the larger value.
fn distance(element: Element, reference: &[u8], candidate: &[u8]) -> String {
    if let Some(ulps) = element.ulps(reference, candidate) {
        return format!(" ({})", count(ulps as usize, "ULP"));
    }
    let [left, right] = [reference, candidate].map(|bytes| element.value(bytes).as_f64());
    if !element.is_float() || !left.is_finite() || !right.is_finite() {
        return String::new();
    }
    format!(" (relative difference {:.1e})", apart(left, right) / left.abs().max(right.abs()))
}

/// A tensor in a file, with its name there.
pub struct Named<'a> {
    written: String,
    is_state: bool,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its own if it was transposed.
    data: Cow<'a, [u8]>,
}

impl Named<'_> {
    pub fn has_same_bytes(&self, other: &Named) -> bool {
        (self.dtype, &self.shape, &self.data) == (other.dtype, &other.shape, &other.data)
    }
}

/// Returns the tensors in the bytes of the file `path`, by their main names.
///
/// # Errors
/// Fails if the bytes are not a safetensors file, or like [`named`].
pub fn named_in<'a>(
    (path, bytes): (&Path, &'a [u8]),
    translation: Option<&Translation>,
    rename: fn(&str) -> String,
) -> Result<BTreeMap<String, Named<'a>>, Error> {
    let error = |error| Error::Safetensors(path.to_owned(), error);
    let mut tensors = unwrapped(&state_dict::open(bytes).map_err(error)?).map_err(error)?;
    if let Some(translation) = translation {
        let mut names: Vec<String> = tensors.keys().cloned().collect();
        translation.rename(&mut names)?;
        tensors = names.into_iter().zip(tensors.into_values()).collect();
        for (name, tensor) in &mut tensors {
            if let Some(size) = translation.transposes(name, &tensor.shape)? {
                // Elements of less than a byte are in pairs.
                let Some(element) = Element::of(tensor.dtype) else { continue };
                tensor.shape.reverse();
                tensor.data = Cow::Owned(transposed(&tensor.data, size, element.size()));
            }
        }
    }
    Ok(by_main_name(tensors, rename))
}

/// Returns the tensors by their main names. A tensor with the same bytes under two of its names is listed once.
///
/// # Errors
/// Fails if two names become one without the wrapper's prefix.
pub fn named<'a>(
    tensors: &SafeTensors<'a>,
    rename: fn(&str) -> String,
) -> Result<BTreeMap<String, Named<'a>>, state_dict::Error> {
    Ok(by_main_name(unwrapped(tensors)?, rename))
}

/// Returns the tensors without the wrapper's prefix.
fn unwrapped<'a>(tensors: &SafeTensors<'a>) -> Result<BTreeMap<String, Named<'a>>, state_dict::Error> {
    let views: BTreeMap<String, TensorView> = tensors.tensors().into_iter().collect();
    let states: BTreeSet<String> =
        views.keys().filter(|name| names::is_state(name, &views)).cloned().collect();
    let views = views.into_iter().map(|(written, view)| {
        let is_state = states.contains(&written);
        (
            written.clone(),
            Named {
                written,
                is_state,
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                data: Cow::Borrowed(view.data()),
            },
        )
    });
    names::unwrapped(views.collect())
}

fn by_main_name<'a>(
    written: BTreeMap<String, Named<'a>>,
    rename: fn(&str) -> String,
) -> BTreeMap<String, Named<'a>> {
    let (mut named, mut aliases) = (BTreeMap::new(), vec![]);
    for (name, tensor) in written {
        let new = rename(&name);
        if new == name {
            named.insert(name, tensor);
        } else {
            aliases.push((name, new, tensor));
        }
    }
    for (name, new, tensor) in aliases {
        match named.get(&new) {
            None => {
                named.insert(new, tensor);
            }
            Some(other) if other.has_same_bytes(&tensor) => {}
            Some(_) => {
                named.insert(name, tensor);
            }
        }
    }
    named
}
