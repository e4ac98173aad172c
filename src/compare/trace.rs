//! Two traces, step by step: the first difference, and how it grows from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::BufRead;
use std::path::Path;

use serde::Serialize;

use super::Options;
use super::cause::Cause;
use super::distance::Distance;
use super::numbers::Tolerance;
use super::options::{self, OptionDifference};
use super::step::{Mismatch, Place, Side, StepComparison, StepDifference, listed};
use super::translation::Translation;
use super::verdict::{Error, Finding, Verdict, differ};
use crate::trace::{Quantity, Reader, Step};
use crate::util::text::count;

/// Steps on each side of the first difference whose tensors are worth keeping.
const AROUND: usize = 2;
/// Two trainings have fewer stretches of steps that only one side has. The last one absorbs all that follow.
const MAX_SURPLUS: usize = 20;
/// More points than a picture has columns.
const MAX_POINTS: usize = 2000;

/// The result of comparing two traces.
#[derive(Debug, Default, Serialize)]
pub struct Trace {
    /// The number of steps that both have.
    pub steps: usize,
    /// The number of those before the first difference.
    identical_steps: usize,
    /// The number of those before the first difference beyond the tolerance.
    close_steps: usize,
    /// The differences within the tolerance, before the first one beyond it.
    close: Close,
    /// The first one beyond the tolerance, if there is a tolerance.
    first_difference: Option<StepDifference>,
    /// From the first difference on, whatever its size, at steps that are ever further apart.
    growth: Vec<Growth>,
    /// The same at enough steps for a picture.
    #[serde(skip)]
    pub curve: Curve,
    /// Steps that only one side has.
    surplus: Vec<Surplus>,
    /// The names of quantities that only the reference has, and only the candidate.
    only: [BTreeSet<String>; 2],
    /// The names of those that are transposed in the candidate, whose trace has not kept them.
    not_kept: BTreeSet<String>,
    /// True if the last step is cut off in the reference's trace, and in the candidate's.
    is_cut: [bool; 2],
    /// The differences in what the two were computed with.
    #[serde(skip)]
    pub settings: Vec<OptionDifference>,
    #[serde(skip)]
    tolerance: Option<Tolerance>,
    /// The step with the first difference, whatever its size.
    #[serde(skip)]
    parting: Option<Place>,
}

/// Quantities that differ within the tolerance, counted over all steps.
#[derive(Debug, Default, Serialize)]
struct Close {
    /// The number of quantities that both have.
    quantities: usize,
    differing: usize,
    /// The one with the largest relative distance.
    largest: Option<Largest>,
}

#[derive(Debug, Serialize)]
struct Largest {
    at: Place,
    quantity: String,
    distance: Distance,
}

/// Consecutive steps that only one side has.
#[derive(Debug, Serialize)]
struct Surplus {
    side: Side,
    from: Place,
    to: Place,
    /// The number of steps before these that both have.
    #[serde(skip)]
    common_before: usize,
}

/// The distance between the two at a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    pub epoch: usize,
    pub step: usize,
    /// The reference's, and the candidate's.
    pub loss: [Option<f64>; 2],
    /// Euclidean, of all parameters that both have; none if they have none.
    pub parameter_distance: Option<f64>,
}

impl Trace {
    pub fn of_files(reference: &Path, candidate: &Path, options: &Options) -> Result<Self, Error> {
        Self::between(Reader::open(reference)?, Reader::open(candidate)?, options)
    }

    pub fn of_contents(
        reference: (&Path, &[u8]),
        candidate: (&Path, &[u8]),
        options: &Options,
    ) -> Result<Self, Error> {
        Self::between(Reader::new(reference.0, reference.1)?, Reader::new(candidate.0, candidate.1)?, options)
    }

    fn between<R: BufRead>(
        mut left: Reader<R>,
        mut right: Reader<R>,
        options: &Options,
    ) -> Result<Self, Error> {
        let settings = options::between("", &left.settings, &right.settings);
        let mut report = Self { settings, tolerance: options.tolerance, ..Self::default() };
        let mut steps = (left.next_step()?, next_translated(&mut right, &options.translation)?);
        let (mut before, mut last) = ([None, None], None);
        loop {
            match &mut steps {
                (Some(a), Some(b)) if key(a) == key(b) => {
                    report.add_step([a, b], &before, &mut last);
                    before = [Some(std::mem::take(a)), Some(std::mem::take(b))];
                    steps = (left.next_step()?, next_translated(&mut right, &options.translation)?);
                }
                (Some(a), b) if b.as_ref().is_none_or(|b| key(a) < key(b)) => {
                    report.add_surplus(Side::Reference, a);
                    before[0] = Some(std::mem::take(a));
                    steps.0 = left.next_step()?;
                }
                (_, Some(b)) => {
                    report.add_surplus(Side::Candidate, b);
                    before[1] = Some(std::mem::take(b));
                    steps.1 = next_translated(&mut right, &options.translation)?;
                }
                (_, None) => break,
            }
        }
        report.growth.extend(last);
        report.is_cut = [left.is_cut, right.is_cut];
        Ok(report)
    }

    /// Compares a step that both have. `before` is each side's previous step, and `last` the growth at the latest step,
    /// unless the table already has it.
    fn add_step(&mut self, steps: [&Step; 2], before: &[Option<Step>; 2], last: &mut Option<Growth>) {
        let [reference, candidate] = steps;
        self.steps += usize::from(!reference.is_end());
        let is_first = self.first_difference.is_none() && {
            let place = Place::of(reference);
            let found = StepComparison::between(steps, before, &mut self.only, self.tolerance);
            let differs = found.difference.is_some() || !found.close.is_empty();
            self.close.add(&place, found.quantities, found.close);
            self.not_kept.extend(found.not_kept);
            // The table shows the training with the first difference beyond the tolerance.
            if self.parting.as_ref().is_some_and(|parting| parting.fit != place.fit) {
                (self.parting, *last) = (None, None);
                (self.growth, self.curve) = (vec![], Curve::default());
            }
            if differs {
                self.parting.get_or_insert(place);
            } else if self.close.differing == 0 {
                self.identical_steps = self.steps;
            }
            self.first_difference = found.difference;
            if self.first_difference.is_none() {
                self.close_steps = self.steps;
            }
            self.first_difference.is_some()
        };
        let Some(parting) = &self.parting else { return };
        if parting.fit != reference.fit || reference.is_end() {
            return;
        }
        let growth = Growth::between(reference, candidate);
        // If gradients are accumulated, several batches share a step; the first one counts.
        let is_new = self.growth.last().is_none_or(|last| last.step != growth.step);
        self.curve.add(growth);
        if is_new && (is_first || is_row(reference.step.saturating_sub(parting.step))) {
            self.growth.push(growth);
            *last = None;
        } else if is_new {
            *last = Some(growth);
        }
    }

    fn add_surplus(&mut self, side: Side, step: &Step) {
        if step.is_end() {
            return;
        }
        let place = Place::of(step);
        let (steps, many) = (self.steps, self.surplus.len() >= MAX_SURPLUS);
        match self.surplus.last_mut() {
            // Consecutive, because no common step lies between them.
            Some(last)
                if last.side == side && last.to.fit == place.fit && last.common_before == steps || many =>
            {
                last.to = place;
            }
            _ => self.surplus.push(Surplus { side, from: place.clone(), to: place, common_before: steps }),
        }
    }

    /// The parameter whose matrix is transposed on one side, if that is the first difference.
    pub fn transposed(&self) -> Option<&str> {
        self.first_difference.as_ref()?.transposed()
    }

    /// The steps around the first difference, if the tensors that differ there were not kept.
    pub fn steps_to_keep(&self) -> Option<(usize, usize)> {
        match &self.first_difference {
            Some(StepDifference { at, what: Mismatch::Values { tensor: None, .. }, .. }) => {
                Some((at.step.saturating_sub(AROUND), at.step.saturating_add(AROUND)))
            }
            _ => None,
        }
    }
}

/// The candidate's next step, with the reference's names and layouts.
fn next_translated<R: BufRead>(
    candidate: &mut Reader<R>,
    translation: &Translation,
) -> Result<Option<Step>, Error> {
    let Some(mut step) = candidate.next_step()? else { return Ok(None) };
    let mut quantities: Vec<&mut Quantity> = step.before.iter_mut().chain(&mut step.quantities).collect();
    translation.rename(quantities.iter_mut().map(|quantity| &mut quantity.name))?;
    quantities.into_iter().try_for_each(|quantity| translation.transpose(quantity))?;
    Ok(Some(step))
}

fn key(step: &Step) -> (usize, usize, bool) {
    (step.fit, step.step, !step.is_end())
}

/// True if the table has a row this number of steps after the first difference: 0, 1, 2, 5, 10, 20, 50 and so on.
fn is_row(mut after: usize) -> bool {
    while after >= 10 && after.is_multiple_of(10) {
        after /= 10;
    }
    [0, 1, 2, 5].contains(&after)
}

impl Close {
    fn add(&mut self, at: &Place, quantities: usize, close: Vec<(String, Distance)>) {
        self.quantities += quantities;
        self.differing += close.len();
        for (quantity, distance) in close {
            let largest = self.largest.as_ref().map(|largest| largest.distance.relative());
            if largest.is_none_or(|largest| distance.relative() > largest) {
                self.largest = Some(Largest { at: at.clone(), quantity, distance });
            }
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { quantities, differing, largest } = self;
        write!(f, "{} within the tolerance", differ(*differing, *quantities, "tensor"))?;
        match largest {
            Some(Largest { at, quantity, distance }) => {
                write!(f, ", by a relative distance of {distance} at most: {quantity} in {at}")
            }
            None => Ok(()),
        }
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
            parameter_distance: parameter_distance(reference, candidate),
        }
    }
}

/// None if they have no parameter in common, or one can't be compared.
fn parameter_distance(reference: &Step, candidate: &Step) -> Option<f64> {
    let theirs: BTreeMap<&str, &Quantity> =
        candidate.parameters().map(|quantity| (quantity.name.as_str(), quantity)).collect();
    let mut distance: Option<Distance> = None;
    for ours in reference.parameters() {
        if let Some(theirs) = theirs.get(ours.name.as_str()) {
            *distance.get_or_insert_default() += Distance::between(ours, theirs)?;
        }
    }
    distance.map(|distance| distance.absolute)
}

/// Evenly spaced steps of a training of any length, fewer than [`MAX_POINTS`].
#[derive(Debug)]
pub struct Curve {
    pub points: Vec<Growth>,
    every: usize,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: vec![], every: 1 }
    }
}

impl Curve {
    fn add(&mut self, growth: Growth) {
        let from = self.points.first().map_or(growth.step, |first| first.step);
        let is_new = self.points.last().is_none_or(|last| last.step != growth.step);
        if !is_new || !(growth.step.saturating_sub(from)).is_multiple_of(self.every) {
            return;
        }
        self.points.push(growth);
        if self.points.len() == MAX_POINTS {
            self.every *= 2;
            let every = self.every;
            self.points.retain(|point| (point.step - from).is_multiple_of(every));
        }
    }
}

impl Finding for Trace {
    fn verdict(&self) -> Verdict {
        let lacks_quantities = self.only.iter().any(|only| !only.is_empty());
        match self.first_difference {
            Some(_) => Verdict::Different,
            None if !self.surplus.is_empty() || lacks_quantities && self.tolerance.is_none() => {
                Verdict::Different
            }
            // A trace without steps or common quantities proves nothing, and a step that is cut off may differ.
            None if self.tolerance.is_none() && !self.not_kept.is_empty() => Verdict::Incomparable,
            None if self.close.quantities == 0 || self.is_cut.contains(&true) => Verdict::Incomparable,
            None if self.close.differing > 0 || lacks_quantities || !self.not_kept.is_empty() => {
                Verdict::Close
            }
            None => Verdict::Identical,
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { close, close_steps, .. } = self;
        let steps = count(self.steps, "step");
        match (&self.first_difference, self.verdict()) {
            (Some(difference), _) if self.tolerance.is_some() => {
                let close_steps = count(*close_steps, "step");
                write!(
                    f,
                    "close for {close_steps}, then beyond the tolerance\n    {difference}\n    {close}"
                )?;
            }
            (Some(difference), _) => {
                let same = count(self.identical_steps, "step");
                write!(f, "the same for {same}, then different\n    {difference}")?;
                let settings = self.settings.iter().filter(|setting| setting.is_of_machine());
                let settings: Vec<String> = settings.map(OptionDifference::name).collect();
                if difference.cause == Some(Cause::Kernels) && !settings.is_empty() {
                    write!(f, "\n    the two were computed with another {}", settings.join(", "))?;
                }
            }
            (None, Verdict::Identical) => write!(f, "identical ({steps})")?,
            (None, _) if self.steps == 0 => {
                f.write_str("could not compare: there is no step that both have")?
            }
            (None, _) if close.quantities == 0 => {
                f.write_str("could not compare: there is no quantity that both have")?
            }
            (None, Verdict::Close) if close.differing > 0 => write!(f, "close ({steps})\n    {close}")?,
            (None, Verdict::Incomparable) => {
                write!(f, "could not compare to the end: the same in the first {steps}")?;
            }
            (None, _) if self.surplus.is_empty() => {
                write!(f, "the same in the quantities that both have, in {steps}")?
            }
            (None, _) => write!(f, "the same in the {steps} that both have")?,
        }
        let sides = [Side::Reference, Side::Candidate];
        for (side, names) in sides.into_iter().zip(&self.only) {
            if !names.is_empty() {
                let names: Vec<_> = names.iter().cloned().collect();
                write!(f, "\n    quantities only in the {side}: {}", listed(&names))?;
            }
        }
        if !self.not_kept.is_empty() {
            let names: Vec<_> = self.not_kept.iter().cloned().collect();
            let names = listed(&names);
            write!(f, "\n    not compared, because they are transposed and were not kept: {names}")?;
        }
        for Surplus { side, from, to, .. } in &self.surplus {
            write!(
                f,
                "\n    only in the {side}: steps {} to {} of fit {} ({})",
                from.step, to.step, from.fit, from.model
            )?;
        }
        for (side, is_cut) in sides.into_iter().zip(self.is_cut) {
            if is_cut {
                write!(f, "\n    the {side} ends within a step: the run was stopped while writing it")?;
            }
        }
        if self.growth.is_empty() { Ok(()) } else { write_table(f, &self.growth) }
    }
}

fn write_table(f: &mut fmt::Formatter, rows: &[Growth]) -> fmt::Result {
    let row = |cells: [&str; 6]| {
        let [epoch, step, rest @ ..] = cells;
        format!("\n    {epoch:>6}{step:>8}{}", rest.map(|cell| format!("{cell:>14}")).concat())
    };
    f.write_str(&row(["epoch", "step", "reference", "candidate", "difference", "distance"]))?;
    for Growth { epoch, step, loss, parameter_distance } in rows {
        let [left, right] = loss.map(|loss| loss.map_or("-".into(), |loss| format!("{loss:.8}")));
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2e}"));
        let difference = number(loss[0].zip(loss[1]).map(|(a, b)| (a - b).abs()));
        let (epoch, step, distance) = (epoch.to_string(), step.to_string(), number(*parameter_distance));
        f.write_str(&row([&epoch, &step, &left, &right, &difference, &distance]))?;
    }
    f.write_str(
        "\n    loss of both and their difference; distance between all parameters, estimated to within about 18 %",
    )
}
