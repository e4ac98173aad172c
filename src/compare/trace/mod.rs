//! Two traces, step by step: where they first part, and how the difference grows from there.

mod display;
mod growth;
mod parting;

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use serde::Serialize;

use super::Error;
use super::verdict::Verdict;
use crate::trace::{Reader, Step};
use crate::util::text::shown;
use growth::Curve;
pub use growth::Growth;
use parting::{Parting, What, parting};

/// How many steps around the parting are worth keeping with their tensors.
const AROUND: usize = 2;
/// Of more pieces than this, which two trainings do not have, only the beginnings are told.
const MAX_SURPLUS: usize = 20;

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
    /// The same at steps as close to each other as a picture shows.
    #[serde(skip)]
    pub curve: Curve,
    /// Steps that only one side has.
    pub surplus: Vec<Surplus>,
    /// The names of quantities that only the reference has, and only the candidate.
    pub only: [BTreeSet<String>; 2],
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

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Reference,
    Candidate,
}

/// Steps in a row that only one side has.
#[derive(Debug, Serialize)]
pub struct Surplus {
    pub side: Side,
    pub from: Place,
    pub to: Place,
    /// How many steps that both have come before.
    #[serde(skip)]
    behind: usize,
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
            curve: Curve::default(),
            surplus: vec![],
            only: Default::default(),
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

    /// Takes in a step that both have, behind the one before on each side. `last` is how far apart they are at the last
    /// step that is not in the table.
    fn step(&mut self, steps: [&Step; 2], before: &[Option<Step>; 2], last: &mut Option<Growth>) {
        let [reference, candidate] = steps;
        self.steps += usize::from(!reference.is_end());
        if self.first_difference.is_none() {
            self.first_difference = parting(reference, candidate, before, &mut self.only);
            if self.first_difference.is_none() {
                self.identical_steps = self.steps;
                return;
            }
        }
        let Some(Parting { at, .. }) = &self.first_difference else { return };
        if at.fit != reference.fit || reference.is_end() {
            return;
        }
        let growth = Growth::between(reference, candidate);
        // Of the batches whose gradients are accumulated the first.
        let is_new = self.growth.last().is_none_or(|last| last.step != growth.step);
        self.curve.add(growth);
        if is_new && is_row(reference.step.saturating_sub(at.step)) {
            self.growth.push(growth);
            *last = None;
        } else if is_new {
            *last = Some(growth);
        }
    }

    fn surplus(&mut self, side: Side, step: &Step) {
        if step.is_end() {
            return;
        }
        let place = Place::of(step);
        let (steps, many) = (self.steps, self.surplus.len() >= MAX_SURPLUS);
        match self.surplus.last_mut() {
            // With no step between them that both have.
            Some(last) if last.side == side && last.to.fit == place.fit && last.behind == steps || many => {
                last.to = place;
            }
            _ => self.surplus.push(Surplus { side, from: place.clone(), to: place, behind: steps }),
        }
    }

    pub fn verdict(&self) -> Verdict {
        match self.first_difference {
            Some(_) => Verdict::Different,
            None if !self.surplus.is_empty() || self.only.iter().any(|only| !only.is_empty()) => {
                Verdict::Different
            }
            // Without a step nothing is proved, and what was cut off is not known.
            None if self.steps == 0 || self.is_cut.contains(&true) => Verdict::Incomparable,
            None => Verdict::Identical,
        }
    }

    /// The steps around the first difference, if it is one of values that were not kept.
    pub fn steps_to_keep(&self) -> Option<(usize, usize)> {
        match &self.first_difference {
            Some(Parting { at, what: What::Values { tensor: None, .. }, .. }) => {
                Some((at.step.saturating_sub(AROUND), at.step.saturating_add(AROUND)))
            }
            _ => None,
        }
    }
}

fn key(step: &Step) -> (usize, usize, bool) {
    (step.fit, step.step, !step.is_end())
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
