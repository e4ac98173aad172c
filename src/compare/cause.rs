//! The likely cause of the first difference of two traces, where its place tells it.

use std::fmt;

use serde::Serialize;

use super::distance::Distance;
use crate::trace;

/// Products and sums of float32 that differ by rounding only are closer than this, relatively.
const ROUNDING: f64 = 1e-5;

/// A cause of the first difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Draws,
    Weights,
    Batches,
    Dropout,
    Kernels,
    Formula,
    OptimizerState,
    Update,
}

/// A first difference, as far as it tells the cause.
pub struct Symptom<'a> {
    pub quantity: &'a str,
    /// True if it differed before the training's first step.
    pub is_at_start: bool,
    /// True if it differed before a step.
    pub is_before: bool,
    pub distance: Option<Distance>,
    /// The step's quantities that are the same.
    pub same: &'a [String],
    /// True if the generator differs after the step.
    pub drew_otherwise: bool,
}

impl Cause {
    /// None if the traces don't tell.
    pub fn of(symptom: &Symptom) -> Option<Self> {
        let Symptom { quantity, is_at_start, is_before, distance, same, drew_otherwise } = *symptom;
        let is_same = |name: &str| same.iter().any(|same| same == name);
        let is_of = |name: &str, start: &str| {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_batch = |name: &str| is_of(name, "input") || is_of(name, "target");
        let is_input_same = same.iter().any(|name| is_of(name, "input"));
        let by_rounding = distance.is_some_and(|distance| distance.relative() < ROUNDING);
        let computed = if by_rounding { Self::Kernels } else { Self::Formula };
        let parameter = &quantity[trace::parameter(quantity)..];
        if is_before {
            let start = match is_of(quantity, "generator") {
                true => Self::Draws,
                false if by_rounding => Self::Kernels,
                false => Self::Weights,
            };
            return is_at_start.then_some(start);
        }
        match quantity {
            _ if is_batch(quantity) => Some(Self::Batches),
            _ if is_of(quantity, "generator") => Some(Self::Dropout),
            _ if is_of(quantity, "grad") => is_same("loss").then_some(computed),
            "logits" | "loss" => is_input_same.then_some(computed),
            _ if is_of(quantity, "forward") && drew_otherwise => Some(Self::Dropout),
            _ if is_of(quantity, "forward") => is_input_same.then_some(computed),
            _ if !is_same(&format!("grad.{parameter}")) => None,
            _ if is_of(quantity, "optimizer") => Some(Self::OptimizerState),
            _ => Some(Self::Update),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Draws => "another seed, or one side drew more random numbers before the training",
            Self::Weights => "the models start from different weights",
            Self::Batches => "the batches differ: other data, or another split, order or preparation",
            Self::Dropout => "the step drew other random numbers, as for dropout",
            Self::Kernels => {
                "what it is computed from is the same, and it differs by rounding only: other kernels, or another order of \
                 summation"
            }
            Self::Formula => "what it is computed from is the same, and it differs by more than rounding: another formula",
            Self::OptimizerState => {
                "the gradients are the same: the optimizer keeps another average of them, such as with another alpha"
            }
            Self::Update => {
                "gradients and the optimizer's state are the same: another learning rate, epsilon or weight decay, or \
                 another formula of the update"
            }
        })
    }
}
