//! How it is told where two traces part.

use std::fmt;

use super::parting::{Numbers, Parting, What};
use super::{Place, Side, Surplus, TraceReport};
use crate::compare::count;
use crate::compare::verdict::Verdict;

impl fmt::Display for TraceReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let steps = count(self.steps, "step");
        match (&self.first_difference, self.verdict()) {
            (Some(parting), _) => {
                write!(f, "{} the same, then they part\n    {parting}", count(self.identical_steps, "step"))?;
            }
            (None, Verdict::Identical) => write!(f, "identical ({steps})")?,
            (None, _) if self.steps == 0 => {
                f.write_str("could not compare: there is no step that both have")?
            }
            (None, Verdict::Incomparable) => {
                write!(f, "could not compare to the end: the same in the {steps}")?
            }
            (None, _) if self.surplus.is_empty() => write!(f, "the same in what both have of {steps}")?,
            (None, _) => write!(f, "the same in the {steps} that both have")?,
        }
        for (side, names) in [Side::Reference, Side::Candidate].into_iter().zip(&self.only) {
            if !names.is_empty() {
                let names: Vec<_> = names.iter().cloned().collect();
                write!(f, "\n    quantities only in the {side}: {}", listed(&names))?;
            }
        }
        for Surplus { side, from, to, .. } in &self.surplus {
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
        let Self { at, quantity, is_before, is_end, changed_in, what, same, also } = self;
        write!(f, "first difference in {at}")?;
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
