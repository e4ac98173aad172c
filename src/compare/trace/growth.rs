//! How the difference of two traces grows.

use serde::Serialize;

use crate::trace::{Step, distance};

/// More points than a picture has columns.
const MAX_POINTS: usize = 2000;

/// How far the two are apart at a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    pub epoch: usize,
    pub step: usize,
    /// The reference's, and the candidate's.
    pub loss: [Option<f64>; 2],
    /// Euclidean, of all parameters, estimated from their sketches; none if they can't be compared.
    pub parameter_distance: Option<f64>,
}

/// Of a training of any length at most so many steps, evenly spread.
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
    pub(super) fn add(&mut self, growth: Growth) {
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

impl Growth {
    pub(super) fn between(reference: &Step, candidate: &Step) -> Self {
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
