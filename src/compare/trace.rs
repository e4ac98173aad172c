//! Two traces, step by step: where they first part, and how the difference grows from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::BufRead;
use std::path::Path;

use serde::Serialize;

use super::report::Verdict;
use super::tensors::{TensorDifference, difference};
use super::{Error, count};
use crate::trace::{Number, Quantity, Reader, Step, distance};
use crate::util::text::shown;

/// How many steps around the parting are worth keeping with their tensors.
const AROUND: usize = 2;

/// What two traces say together.
#[derive(Debug, Serialize)]
pub struct TraceReport {
    /// The steps that both have.
    pub steps: usize,
    /// Of those the ones before the first difference.
    pub identical_steps: usize,
    /// None if there is none.
    pub first_difference: Option<Parting>,
    /// From the first difference on, at steps further and further apart.
    pub growth: Vec<Growth>,
    /// Steps that only one side has.
    pub surplus: Vec<Surplus>,
    /// Whether the last step of the reference's trace, of the candidate's, is cut off.
    pub is_cut: [bool; 2],
}

/// A step of one of the trainings in a trace, both counted from 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub fit: usize,
    pub model: String,
    pub epoch: usize,
    pub step: usize,
}

/// Where two traces part.
#[derive(Debug, Serialize)]
pub struct Parting {
    pub at: Place,
    /// None if they are in different epochs.
    pub quantity: Option<String>,
    /// Whether it was so before the step began.
    pub is_before: bool,
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
    /// A quantity that only one side has.
    Only(Side),
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

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Reference,
    Candidate,
}

/// What is known of a tensor that was not kept.
#[derive(Debug, Serialize)]
pub struct Numbers {
    xxh3: String,
    min: Number,
    max: Number,
    mean: Number,
}

/// How far the two are apart at a step.
#[derive(Debug, Serialize)]
pub struct Growth {
    pub epoch: usize,
    pub step: usize,
    /// The reference's, and the candidate's.
    pub loss: [Option<f64>; 2],
    /// Euclidean, of all parameters, estimated from their sketches; none if they can't be compared.
    pub parameter_distance: Option<f64>,
}

/// Steps in a row that only one side has.
#[derive(Debug, Serialize)]
pub struct Surplus {
    pub side: Side,
    pub from: Place,
    pub to: Place,
}

impl TraceReport {
    pub fn of_files(reference: &Path, candidate: &Path) -> Result<Self, Error> {
        Self::between(Reader::open(reference)?, Reader::open(candidate)?)
    }

    pub fn of_contents(reference: (&Path, &[u8]), candidate: (&Path, &[u8])) -> Result<Self, Error> {
        Self::between(Reader::new(reference.0, reference.1)?, Reader::new(candidate.0, candidate.1)?)
    }

    fn between<R: BufRead>(mut left: Reader<R>, mut right: Reader<R>) -> Result<Self, Error> {
        let mut report = Self {
            steps: 0,
            identical_steps: 0,
            first_difference: None,
            growth: vec![],
            surplus: vec![],
            is_cut: [false; 2],
        };
        let mut steps = (left.next_step()?, right.next_step()?);
        let (mut before, mut last) = ([None, None], None);
        loop {
            match &mut steps {
                (Some(a), Some(b)) if key(a) == key(b) => {
                    report.step([a, b], &before, &mut last);
                    before = [Some(std::mem::take(a)), Some(std::mem::take(b))];
                    steps = (left.next_step()?, right.next_step()?);
                }
                (Some(a), b) if b.as_ref().is_none_or(|b| key(a) < key(b)) => {
                    report.surplus(Side::Reference, a);
                    before[0] = Some(std::mem::take(a));
                    steps.0 = left.next_step()?;
                }
                (_, Some(b)) => {
                    report.surplus(Side::Candidate, b);
                    before[1] = Some(std::mem::take(b));
                    steps.1 = right.next_step()?;
                }
                (_, None) => break,
            }
        }
        report.growth.extend(last);
        report.is_cut = [left.is_cut, right.is_cut];
        Ok(report)
    }

    /// Takes in a step that both have, behind the one before on each side. `last` is how far apart they are at the last step that is not
    /// in the table.
    fn step(&mut self, steps: [&Step; 2], before: &[Option<Step>; 2], last: &mut Option<Growth>) {
        let [reference, candidate] = steps;
        self.steps += 1;
        if self.first_difference.is_none() {
            self.first_difference = parting(reference, candidate, before);
            if self.first_difference.is_none() {
                self.identical_steps += 1;
                return;
            }
        }
        let Some(Parting { at, .. }) = &self.first_difference else { return };
        if at.fit != reference.fit {
            return;
        }
        let growth = Growth::between(reference, candidate);
        *last = None;
        if is_row(reference.step.saturating_sub(at.step)) {
            self.growth.push(growth);
        } else {
            *last = Some(growth);
        }
    }

    fn surplus(&mut self, side: Side, step: &Step) {
        let place = Place::of(step);
        match self.surplus.last_mut() {
            Some(last) if last.side == side && last.to.fit == place.fit && last.to.step + 1 == place.step => {
                last.to = place;
            }
            _ => self.surplus.push(Surplus { side, from: place.clone(), to: place }),
        }
    }

    pub fn verdict(&self) -> Verdict {
        match self.first_difference {
            Some(_) => Verdict::Different,
            None if !self.surplus.is_empty() => Verdict::Different,
            // Without a step nothing is proved.
            None if self.steps == 0 => Verdict::Incomparable,
            None => Verdict::Identical,
        }
    }

    /// The steps around the first difference, if it is one of values that were not kept.
    pub fn steps_to_keep(&self) -> Option<(usize, usize)> {
        match &self.first_difference {
            Some(Parting { at, what: What::Values { tensor: None, .. }, .. }) => {
                Some((at.step.saturating_sub(AROUND), at.step + AROUND))
            }
            _ => None,
        }
    }
}

fn key(step: &Step) -> (usize, usize) {
    (step.fit, step.step)
}

/// Whether a step so many after the first difference has a row: 0, 1, 2, 5, 10, 20, 50 and so on.
fn is_row(mut after: usize) -> bool {
    while after >= 10 && after.is_multiple_of(10) {
        after /= 10;
    }
    [0, 1, 2, 5].contains(&after)
}

impl Place {
    fn of(step: &Step) -> Self {
        Self { fit: step.fit, model: shown(&step.model), epoch: step.epoch, step: step.step }
    }
}

impl Growth {
    fn between(reference: &Step, candidate: &Step) -> Self {
        let loss = |step: &Step| {
            step.quantities.iter().find(|quantity| quantity.name == "loss").map(|loss| loss.mean.0)
        };
        Self {
            epoch: reference.epoch,
            step: reference.step,
            loss: [loss(reference), loss(candidate)],
            parameter_distance: distance(&reference.sketch, &candidate.sketch),
        }
    }
}

/// Where two records of one step part, if they do, behind the step before.
fn parting(reference: &Step, candidate: &Step, before: &[Option<Step>; 2]) -> Option<Parting> {
    let at = Place::of(reference);
    if reference.epoch != candidate.epoch {
        let what = What::OtherEpoch(candidate.epoch);
        let (same, also) = (vec![], vec![]);
        return Some(Parting { at, quantity: None, is_before: false, changed_in: None, what, same, also });
    }
    let (mut first, mut same, mut also) = (None, vec![], BTreeSet::new());
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
        match what(left.or_else(|| was(0)), right.or_else(|| was(1))) {
            Some(what) if first.is_none() => first = Some((shown(name), true, changed_in, what)),
            Some(_) => {
                also.insert(shown(name));
            }
            None => {}
        }
    }
    for (name, left, right) in pairs(&reference.quantities, &candidate.quantities) {
        match what(left, right) {
            None => same.push(shown(name)),
            Some(what) if first.is_none() => first = Some((shown(name), false, None, what)),
            Some(_) => {
                also.insert(shown(name));
            }
        }
    }
    let (name, is_before, changed_in, what) = first?;
    also.remove(&name);
    let also = also.into_iter().collect();
    Some(Parting { at, quantity: Some(name), is_before, changed_in, what, same, also })
}

type Pair<'a> = (&'a str, Option<&'a Quantity>, Option<&'a Quantity>);

/// By name, in the reference's order; then what only the candidate has.
fn pairs<'a>(reference: &'a [Quantity], candidate: &'a [Quantity]) -> Vec<Pair<'a>> {
    let mut right: BTreeMap<&str, &Quantity> =
        candidate.iter().map(|quantity| (quantity.name.as_str(), quantity)).collect();
    let mut pairs: Vec<Pair> = reference
        .iter()
        .map(|left| (left.name.as_str(), Some(left), right.remove(left.name.as_str())))
        .collect();
    let rest = candidate.iter().filter(|quantity| right.contains_key(quantity.name.as_str()));
    pairs.extend(rest.map(|quantity| (quantity.name.as_str(), None, Some(quantity))));
    pairs
}

fn what(reference: Option<&Quantity>, candidate: Option<&Quantity>) -> Option<What> {
    let (left, right) = match (reference, candidate) {
        (Some(left), Some(right)) => (left, right),
        (Some(_), None) => return Some(What::Only(Side::Reference)),
        _ => return Some(What::Only(Side::Candidate)),
    };
    if (&left.kind, &left.shape) != (&right.kind, &right.shape) {
        let layout = |quantity: &Quantity| format!("{} {:?}", shown(&quantity.kind), quantity.shape);
        return Some(What::Layout { reference: layout(left), candidate: layout(right) });
    }
    if left.xxh3 == right.xxh3 {
        return None;
    }
    let tensor = left
        .bytes()
        .zip(right.bytes())
        .and_then(|(a, b)| difference(left.kind == "float32", &left.shape, &a, &b, None));
    Some(What::Values { reference: Numbers::of(left), candidate: Numbers::of(right), tensor })
}

impl Numbers {
    fn of(quantity: &Quantity) -> Self {
        let Quantity { xxh3, min, max, mean, .. } = quantity;
        Self { xxh3: shown(xxh3), min: *min, max: *max, mean: *mean }
    }
}

impl fmt::Display for TraceReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.first_difference {
            None if self.verdict() == Verdict::Incomparable => {
                f.write_str("could not compare: there is no whole step in them")?
            }
            None if self.surplus.is_empty() => write!(f, "identical ({})", count(self.steps, "step"))?,
            None => write!(f, "the same in the {} that both have", count(self.steps, "step"))?,
            Some(parting) => {
                write!(f, "{} the same, then they part\n    {parting}", count(self.identical_steps, "step"))?;
            }
        }
        for Surplus { side, from, to } in &self.surplus {
            write!(
                f,
                "\n    only in the {side}: steps {} to {} of fit {} ({})",
                from.step, to.step, from.fit, from.model
            )?;
        }
        for (side, is_cut) in [Side::Reference, Side::Candidate].into_iter().zip(self.is_cut) {
            if is_cut {
                write!(f, "\n    the {side} ends within a step: the run was stopped while it wrote")?;
            }
        }
        if self.growth.is_empty() {
            return Ok(());
        }
        let row = |cells: [&str; 6]| {
            let [epoch, step, rest @ ..] = cells;
            format!("\n    {epoch:>6}{step:>8}{}", rest.map(|cell| format!("{cell:>14}")).concat())
        };
        f.write_str(&row(["epoch", "step", "reference", "candidate", "difference", "distance"]))?;
        for growth in &self.growth {
            let [left, right] = growth.loss.map(|loss| loss.map_or("-".into(), |loss| format!("{loss:.8}")));
            let [a, b] = growth.loss;
            let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2e}"));
            let apart = a.zip(b).map(|(a, b)| (a - b).abs());
            let (epoch, step) = (growth.epoch.to_string(), growth.step.to_string());
            f.write_str(&row([
                &epoch,
                &step,
                &left,
                &right,
                &number(apart),
                &number(growth.parameter_distance),
            ]))?;
        }
        f.write_str(
            "\n    loss of both and their difference; distance of all parameters, estimated within 9 % or so",
        )
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { at, quantity, is_before, changed_in, what, same, also } = self;
        write!(f, "first difference in {at}")?;
        if let Some(name) = quantity {
            write!(f, ": {name}{}", if *is_before { ", as it was before the step" } else { "" })?;
        }
        if let Some(side) = changed_in {
            write!(
                f,
                "\n    something else than a step changed it since the step before, in the {side} only"
            )?;
        }
        match what {
            What::OtherEpoch(epoch) => {
                return write!(
                    f,
                    ", which is in epoch {epoch} in the candidate: their epochs have not the same steps"
                );
            }
            What::Only(side) => write!(f, "\n    only in the {side}")?,
            What::Layout { reference, candidate } => {
                write!(f, "\n    reference {reference}, candidate {candidate}")?;
            }
            What::Values { tensor: Some(tensor), .. } => write!(f, "\n    {tensor}")?,
            What::Values { reference, candidate, tensor: None } => {
                write!(f, "\n    reference: {reference}\n    candidate: {candidate}")?;
            }
        }
        write!(f, "\n    the same in this step: {}", listed(same))?;
        write!(f, "\n    different besides: {}", listed(also))
    }
}

/// The first names; of many the number of the others.
fn listed(names: &[String]) -> String {
    const MOST: usize = 6;
    match names {
        [] => "nothing".to_string(),
        names if names.len() <= MOST => names.join(", "),
        names => format!("{} and {} more", names[..MOST - 1].join(", "), names.len() + 1 - MOST),
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
