//! Compares two records of a step: finds the first quantity that differs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::Serialize;

use super::cause::{Cause, Symptom};
use super::distance::Distance;
use super::numbers::{Element, Tolerance};
use super::tensors::{TensorDifference, difference};
use crate::trace::{self, Number, Quantity, Step};
use crate::util::text::shown;

/// More names than anyone reads.
const MAX_NAMES: usize = 1000;

/// The first difference of two traces.
#[derive(Debug, Serialize)]
pub struct StepDifference {
    pub at: Place,
    /// None if they are in different epochs.
    quantity: Option<String>,
    /// True if it differed before the step began.
    is_before: bool,
    /// True if this is the end of a training, after its last step.
    is_end: bool,
    /// The side on which something changed it between two steps, if that is only one side.
    changed_in: Option<Side>,
    pub what: Mismatch,
    /// None if it is unknown, or there is a tolerance.
    pub cause: Option<Cause>,
    /// The step's quantities that are the same on both sides.
    same: Vec<String>,
    /// The others that differ.
    also: Vec<String>,
    /// True if a tolerance was asked for.
    #[serde(skip)]
    is_tolerant: bool,
}

/// A step of one of the trainings in a trace, both counted from 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub fit: usize,
    pub model: String,
    pub epoch: usize,
    pub step: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Reference,
    Candidate,
}

/// The difference between two records of a step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    /// The candidate's step is in this epoch.
    OtherEpoch(usize),
    /// Another dtype or shape.
    Layout {
        reference: String,
        candidate: String,
        /// True if the rows of one matrix are the columns of the other.
        #[serde(skip)]
        is_transposed: bool,
    },
    Values {
        reference: Numbers,
        candidate: Numbers,
        /// None if a trace lacks the tensor.
        tensor: Option<TensorDifference>,
        /// None if neither the tensors nor sketches tell.
        distance: Option<Distance>,
    },
}

/// The result of comparing two records of a step.
#[derive(Debug, Default)]
pub struct StepComparison {
    /// The first quantity that differs, or that differs by more than the tolerance if there is one.
    pub difference: Option<StepDifference>,
    /// The number of quantities that both have.
    pub quantities: usize,
    /// Those that differ within the tolerance.
    pub close: Vec<(String, Distance)>,
    /// The candidate's that are transposed and were not kept.
    pub not_kept: BTreeSet<String>,
}

/// A quantity's two sides.
enum Likeness {
    Identical,
    /// Within the tolerance.
    Close(Distance),
    Different(Mismatch),
}

/// The numbers that a trace has for every tensor.
#[derive(Debug, Serialize)]
pub struct Numbers {
    xxh3: String,
    min: Number,
    max: Number,
    mean: Number,
}

impl Place {
    pub fn of(step: &Step) -> Self {
        Self { fit: step.fit, model: shown(&step.model), epoch: step.epoch, step: step.step }
    }
}

impl StepDifference {
    /// The parameter whose matrix is transposed on one side, if that is the difference.
    pub fn transposed(&self) -> Option<&str> {
        let name = self.quantity.as_deref()?;
        let is_transposed = matches!(self.what, Mismatch::Layout { is_transposed: true, .. });
        is_transposed.then(|| &name[trace::parameter(name)..])
    }
}

impl Mismatch {
    fn distance(&self) -> Option<Distance> {
        if let Self::Values { distance, .. } = self { *distance } else { None }
    }
}

impl Numbers {
    fn of(quantity: &Quantity) -> Self {
        let Quantity { xxh3, min, max, mean, .. } = quantity;
        Self { xxh3: shown(xxh3), min: *min, max: *max, mean: *mean }
    }
}

impl StepComparison {
    /// Compares two records of a step. `before` is each side's previous record, and `only` collects the names of quantities
    /// that only one side has.
    pub fn between(
        [reference, candidate]: [&Step; 2],
        before: &[Option<Step>; 2],
        only: &mut [BTreeSet<String>; 2],
        tolerance: Option<Tolerance>,
    ) -> Self {
        let at = Place::of(reference);
        if reference.epoch != candidate.epoch {
            let what = Mismatch::OtherEpoch(candidate.epoch);
            let difference = StepDifference {
                at,
                quantity: None,
                is_before: false,
                is_end: false,
                changed_in: None,
                what,
                cause: None,
                same: vec![],
                also: vec![],
                is_tolerant: tolerance.is_some(),
            };
            return Self { difference: Some(difference), ..Self::default() };
        }
        let (mut quantities, mut close, mut not_kept) = (0, vec![], BTreeSet::new());
        let (mut first, mut same, mut also) = (None, vec![], BTreeSet::new());
        let changes = pairs(&reference.before, &candidate.before).into_iter();
        let changes = changes.map(|pair| (true, pair.changed_in(), pair.completed(before, reference.fit)));
        let computed = pairs(&reference.quantities, &candidate.quantities).into_iter();
        for (is_before, changed_in, pair) in changes.chain(computed.map(|pair| (false, None, pair))) {
            let name = shown(pair.name);
            match pair.sides {
                [Some(_), Some(right)] if right.is_forgotten => {
                    not_kept.insert(name);
                }
                [Some(left), Some(right)] => {
                    quantities += 1;
                    match Likeness::between(left, right, tolerance) {
                        Likeness::Identical if is_before => {}
                        Likeness::Identical => same.push(name),
                        Likeness::Close(distance) => close.push((name, distance)),
                        Likeness::Different(what) if first.is_none() => {
                            first = Some((name, left.kind.clone(), is_before, changed_in, what));
                        }
                        Likeness::Different(_) => {
                            also.insert(name);
                        }
                    }
                }
                [left, _] => {
                    let names = &mut only[usize::from(left.is_none())];
                    if names.len() < MAX_NAMES {
                        names.insert(name);
                    }
                }
            }
        }
        let difference = first.map(|(name, kind, is_before, changed_in, what)| {
            also.remove(&name);
            let symptom = Symptom {
                quantity: &name,
                kind: &kind,
                is_at_start: is_before && before[0].as_ref().is_none_or(|before| before.fit != at.fit),
                is_before,
                distance: what.distance(),
                same: &same,
                drew_otherwise: also.iter().any(|name| name.starts_with("generator.")),
            };
            let cause = if tolerance.is_some() { None } else { Cause::of(&symptom) };
            let also = also.into_iter().collect();
            let (quantity, is_end) = (Some(name), reference.is_end());
            let is_tolerant = tolerance.is_some();
            StepDifference {
                at,
                quantity,
                is_before,
                is_end,
                changed_in,
                what,
                cause,
                same,
                also,
                is_tolerant,
            }
        });
        Self { difference, quantities, close, not_kept }
    }
}

/// A quantity on both sides; none on a side that lacks it.
struct Pair<'a> {
    name: &'a str,
    sides: [Option<&'a Quantity>; 2],
}

impl<'a> Pair<'a> {
    fn changed_in(&self) -> Option<Side> {
        match self.sides {
            [Some(_), None] => Some(Side::Reference),
            [None, Some(_)] => Some(Side::Candidate),
            _ => None,
        }
    }

    /// On a side that has not changed the quantity, takes its value after the previous step.
    fn completed(mut self, before: &'a [Option<Step>; 2], fit: usize) -> Self {
        for (side, before) in self.sides.iter_mut().zip(before) {
            let before = before.as_ref().filter(|before| before.fit == fit);
            let mut quantities = before.iter().flat_map(|before| &before.quantities);
            *side = side.or_else(|| quantities.find(|quantity| quantity.name == self.name));
        }
        self
    }
}

/// Pairs quantities by name, in the reference's order; one that only the candidate has comes after the pair of its
/// predecessor. If several share a name, such as the losses of two networks, the n-th is paired with the n-th.
fn pairs<'a>(reference: &'a [Quantity], candidate: &'a [Quantity]) -> Vec<Pair<'a>> {
    let mut places: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
    for (i, quantity) in reference.iter().enumerate() {
        places.entry(&quantity.name).or_default().push_back(i);
    }
    let mut partners = vec![None; reference.len()];
    let mut surplus: Vec<Vec<&Quantity>> = vec![vec![]; reference.len() + 1];
    let mut next = 0;
    for quantity in candidate {
        match places.get_mut(quantity.name.as_str()).and_then(VecDeque::pop_front) {
            Some(i) => {
                partners[i] = Some(quantity);
                next = i + 1;
            }
            None => surplus[next].push(quantity),
        }
    }
    let mut surplus = surplus.into_iter();
    let alone = |quantities: Vec<&'a Quantity>| {
        quantities.into_iter().map(|quantity| Pair { name: &quantity.name, sides: [None, Some(quantity)] })
    };
    let mut pairs: Vec<Pair> = surplus.next().into_iter().flat_map(alone).collect();
    for ((left, right), surplus) in reference.iter().zip(partners).zip(surplus) {
        pairs.push(Pair { name: &left.name, sides: [Some(left), right] });
        pairs.extend(alone(surplus));
    }
    pairs
}

impl Likeness {
    fn between(left: &Quantity, right: &Quantity, tolerance: Option<Tolerance>) -> Self {
        let is_one_layout = (&left.kind, &left.shape) == (&right.kind, &right.shape);
        if is_one_layout && left.xxh3 == right.xxh3 {
            return Self::Identical;
        }
        let elements = [left, right].map(|quantity| Element::of_torch(&quantity.kind));
        let distance = Distance::between(left, right);
        let are_floats = elements.iter().all(|element| element.is_some_and(Element::is_float));
        // No tolerance covers integers. The hashes say if they are equal, unless their kinds or shapes differ.
        if let (Some(distance), Some(tolerance)) = (distance, tolerance)
            && (are_floats || !is_one_layout)
            && distance.is_within(if are_floats { tolerance } else { Tolerance::default() })
        {
            return Self::Close(distance);
        }
        if !is_one_layout {
            let layout = |quantity: &Quantity| format!("{} {:?}", shown(&quantity.kind), quantity.shape);
            let (reference, candidate) = (layout(left), layout(right));
            let is_transposed = left.shape.len() == 2
                && left.shape != right.shape
                && right.shape.iter().rev().eq(&left.shape);
            return Self::Different(Mismatch::Layout { reference, candidate, is_transposed });
        }
        let bytes = |quantity: &Quantity| quantity.bytes(elements[0]?.size());
        let tensor = bytes(left)
            .zip(bytes(right))
            .and_then(|(a, b)| difference(&left.kind, elements[0], &left.shape, [&a, &b], None));
        let (reference, candidate) = (Numbers::of(left), Numbers::of(right));
        Self::Different(Mismatch::Values { reference, candidate, tensor, distance })
    }
}

impl fmt::Display for StepDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { at, quantity, is_before, is_end, changed_in, what, cause, same, also, is_tolerant } = self;
        let difference = if *is_tolerant { "difference beyond the tolerance" } else { "difference" };
        write!(f, "first {difference} in {at}")?;
        if let Some(name) = quantity {
            let when = match (is_end, is_before) {
                (true, _) => ", as it was when the training ended",
                (false, true) => ", as it was before the step",
                (false, false) => "",
            };
            write!(f, ": {name}{when}")?;
        }
        if let Some(side) = changed_in {
            write!(
                f,
                "\n    something other than a step changed it after the previous step, in the {side} only"
            )?;
        }
        match what {
            Mismatch::OtherEpoch(epoch) => {
                return write!(
                    f,
                    ", which is in epoch {epoch} in the candidate: their epochs differ in length"
                );
            }
            Mismatch::Layout { reference, candidate, .. } => {
                write!(f, "\n    reference {reference}, candidate {candidate}")?;
            }
            Mismatch::Values { reference, candidate, tensor, distance } => {
                match tensor {
                    Some(tensor) => write!(f, "\n    {tensor}")?,
                    None => write!(f, "\n    reference: {reference}\n    candidate: {candidate}")?,
                }
                match distance.filter(|_| *is_tolerant || tensor.is_none()) {
                    Some(distance) => write!(f, "\n    relative distance {distance}")?,
                    None if *is_tolerant => {
                        f.write_str("\n    no relative distance: a side has neither the tensor nor a sketch")?
                    }
                    None => {}
                }
            }
        }
        if let Some(cause) = cause {
            write!(f, "\n    {cause}")?;
        }
        write!(f, "\n    the same in this step: {}", listed(same))?;
        write!(f, "\n    also different: {}", listed(also))
    }
}

/// Lists the first names, and the number of the others.
pub fn listed(names: &[String]) -> String {
    const MAX_NAMED: usize = 6;
    match names {
        [] => "nothing".to_string(),
        names if names.len() <= MAX_NAMED => names.join(", "),
        names => format!("{} and {} more", names[..MAX_NAMED - 1].join(", "), names.len() + 1 - MAX_NAMED),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { fit, model, epoch, step } = self;
        write!(f, "fit {fit} ({model}), epoch {epoch}, step {step}")
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference",
            Self::Candidate => "candidate",
        })
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { xxh3, min, max, mean } = self;
        write!(f, "from {:?} to {:?}, mean {:?}, hash {xxh3}", min.0, max.0, mean.0)
    }
}
