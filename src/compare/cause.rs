//! The likely cause of the first difference of two traces, where its place tells it.

use std::fmt;

use serde::Serialize;

use super::distance::Distance;
use crate::trace;

/// Products and sums that differ by rounding only are closer than this, relatively, by their kinds.
const ROUNDING: [(&str, f64); 4] =
    [("float32", 1e-5), ("float64", 1e-13), ("float16", 1e-2), ("bfloat16", 5e-2)];

/// A cause of the first difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Draws,
    Weights,
    Rounded,
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
    /// Its dtype in PyTorch.
    pub kind: &'a str,
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
        let Symptom { quantity, kind, is_at_start, is_before, distance, same, drew_otherwise } = *symptom;
        let is_same = |name: &str| same.iter().any(|same| same == name);
        let is_of = |name: &str, start: &str| {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_batch = |name: &str| is_of(name, "input") || is_of(name, "target");
        let is_input_same = same.iter().any(|name| is_of(name, "input"));
        let rounding = ROUNDING.iter().find(|(name, _)| *name == kind).map(|(_, rounding)| *rounding);
        let by_rounding = distance.zip(rounding).map(|(distance, rounding)| distance.relative() < rounding);
        let computed = by_rounding.map(|by_rounding| if by_rounding { Self::Kernels } else { Self::Formula });
        let parameter = &quantity[trace::parameter(quantity)..];
        if is_before {
            let start = match is_of(quantity, "generator") {
                true => Self::Draws,
                false if by_rounding == Some(true) => Self::Rounded,
                false => Self::Weights,
            };
            return is_at_start.then_some(start);
        }
        match quantity {
            _ if is_batch(quantity) => Some(Self::Batches),
            _ if is_of(quantity, "generator") => Some(Self::Dropout),
            _ if is_of(quantity, "grad") => computed.filter(|_| is_same("loss")),
            "logits" | "loss" if drew_otherwise => Some(Self::Dropout),
            _ if is_of(quantity, "forward") && drew_otherwise => Some(Self::Dropout),
            "logits" | "loss" => computed.filter(|_| is_input_same),
            _ if is_of(quantity, "forward") => computed.filter(|_| is_input_same),
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
            Self::Rounded => "the models' first weights differ by rounding only: other kernels drew or converted them",
            Self::Batches => "the batches differ: other data, or another split, order or preparation",
            Self::Dropout => "the step drew other random numbers, as for dropout",
            Self::Kernels => {
                "what it is computed from is the same, and it differs by rounding only: other kernels, or another order of \
                 summation"
            }
            Self::Formula => "what it is computed from is the same, and it differs by more than rounding: another formula",
            Self::OptimizerState => {
                "the gradients are the same: the optimizer averages them otherwise, as with another alpha, beta, momentum or \
                 weight decay"
            }
            Self::Update => {
                "the gradients are the same: another learning rate, epsilon or weight decay, or another formula of the update"
            }
        })
    }
}
