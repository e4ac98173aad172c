//! In what two records of one step part.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::{Place, Side};
use crate::compare::element::Element;
use crate::compare::tensors::{TensorDifference, difference};
use crate::trace::{Number, Quantity, Step};
use crate::util::text::shown;

/// Where two traces part.
#[derive(Debug, Serialize)]
pub struct Parting {
    pub at: Place,
    /// None if they are in different epochs.
    pub quantity: Option<String>,
    /// Whether it was so before the step began.
    pub is_before: bool,
    /// Whether this is the end of a training, behind its last step.
    pub is_end: bool,
    /// The only side on which something between the steps has changed it, if it was one.
    pub changed_in: Option<Side>,
    pub what: What,
    /// The quantities of the step that are the same on both sides.
    pub same: Vec<String>,
    /// Those that differ besides.
    pub also: Vec<String>,
}

/// How two traces part.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The candidate is in this epoch at the step.
    OtherEpoch(usize),
    /// Another kind or shape.
    Layout {
        reference: String,
        candidate: String,
    },
    Values {
        reference: Numbers,
        candidate: Numbers,
        tensor: Option<TensorDifference>,
    },
}

/// What is known of a tensor that was not kept.
#[derive(Debug, Serialize)]
pub struct Numbers {
    pub xxh3: String,
    pub min: Number,
    pub max: Number,
    pub mean: Number,
}

/// Where two records of one step part, if they do, behind the step before; and the names of what only one side has.
pub fn parting(
    reference: &Step,
    candidate: &Step,
    before: &[Option<Step>; 2],
    only: &mut [BTreeSet<String>; 2],
) -> Option<Parting> {
    let at = Place::of(reference);
    if reference.epoch != candidate.epoch {
        let what = What::OtherEpoch(candidate.epoch);
        let (same, also) = (vec![], vec![]);
        let (quantity, changed_in) = (None, None);
        return Some(Parting { at, quantity, is_before: false, is_end: false, changed_in, what, same, also });
    }
    let (mut first, mut same, mut also) = (None, vec![], BTreeSet::new());
    let mut take =
        |name: &str, is_before: bool, changed_in: Option<Side>, pair: [Option<&Quantity>; 2]| match pair {
            [Some(left), Some(right)] => match what(left, right) {
                None if !is_before => same.push(shown(name)),
                None => {}
                Some(what) if first.is_none() => first = Some((shown(name), is_before, changed_in, what)),
                Some(_) => {
                    also.insert(shown(name));
                }
            },
            [left, _] => {
                let names = &mut only[usize::from(left.is_none())];
                if names.len() < MAX_NAMES {
                    names.insert(shown(name));
                }
            }
        };
    for (name, left, right) in pairs(&reference.before, &candidate.before) {
        // What only one side has changed is on the other as the step before left it.
        let was = |side: usize| {
            let before = before[side].as_ref().filter(|before| before.fit == reference.fit)?;
            before.quantities.iter().find(|quantity| quantity.name == name)
        };
        let changed_in = match (left, right) {
            (Some(_), None) => Some(Side::Reference),
            (None, Some(_)) => Some(Side::Candidate),
            _ => None,
        };
        take(name, true, changed_in, [left.or_else(|| was(0)), right.or_else(|| was(1))]);
    }
    for (name, left, right) in pairs(&reference.quantities, &candidate.quantities) {
        take(name, false, None, [left, right]);
    }
    let (name, is_before, changed_in, what) = first?;
    also.remove(&name);
    let also = also.into_iter().collect();
    let (quantity, is_end) = (Some(name), reference.is_end());
    Some(Parting { at, quantity, is_before, is_end, changed_in, what, same, also })
}

/// Of more names than this no one wants to read.
const MAX_NAMES: usize = 1000;

type Pair<'a> = (&'a str, Option<&'a Quantity>, Option<&'a Quantity>);

/// By name, in the reference's order, and what only the candidate has behind what it stands behind there. Of several with
/// one name, such as the losses of two networks, the first with the first and so on.
fn pairs<'a>(reference: &'a [Quantity], candidate: &'a [Quantity]) -> Vec<Pair<'a>> {
    let mut places: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
    for (i, quantity) in reference.iter().enumerate() {
        places.entry(&quantity.name).or_default().push_back(i);
    }
    let mut partners = vec![None; reference.len()];
    let mut surplus: Vec<Vec<&Quantity>> = vec![vec![]; reference.len() + 1];
    let mut behind = 0;
    for quantity in candidate {
        match places.get_mut(quantity.name.as_str()).and_then(VecDeque::pop_front) {
            Some(i) => {
                partners[i] = Some(quantity);
                behind = i + 1;
            }
            None => surplus[behind].push(quantity),
        }
    }
    let mut surplus = surplus.into_iter();
    let alone = |quantities: Vec<&'a Quantity>| {
        quantities
            .into_iter()
            .map(|quantity| (quantity.name.as_str(), None, Some(quantity)))
            .collect::<Vec<_>>()
    };
    let mut pairs = surplus.next().map(alone).unwrap_or_default();
    for ((left, right), surplus) in reference.iter().zip(partners).zip(surplus) {
        pairs.push((left.name.as_str(), Some(left), right));
        pairs.extend(alone(surplus));
    }
    pairs
}

fn what(left: &Quantity, right: &Quantity) -> Option<What> {
    if (&left.kind, &left.shape) != (&right.kind, &right.shape) {
        let layout = |quantity: &Quantity| format!("{} {:?}", shown(&quantity.kind), quantity.shape);
        return Some(What::Layout { reference: layout(left), candidate: layout(right) });
    }
    if left.xxh3 == right.xxh3 {
        return None;
    }
    let element = Element::of_torch(&left.kind);
    let bytes = |quantity: &Quantity| quantity.bytes(element?.size());
    let tensor = bytes(left)
        .zip(bytes(right))
        .and_then(|(a, b)| difference(&left.kind, element, &left.shape, [&a, &b], None));
    Some(What::Values { reference: Numbers::of(left), candidate: Numbers::of(right), tensor })
}

impl Numbers {
    fn of(quantity: &Quantity) -> Self {
        let Quantity { xxh3, min, max, mean, .. } = quantity;
        Self { xxh3: shown(xxh3), min: *min, max: *max, mean: *mean }
    }
}
