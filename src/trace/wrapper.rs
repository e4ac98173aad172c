//! Names in a trace without what wraps the model, as in checkpoints, see [`names`].

use std::collections::{BTreeMap, BTreeSet};

use crate::torch::state_dict::names;
use crate::trace::format::Step;
use crate::util::text::shown;

const GRADIENT: &str = "grad.";

/// What wraps the model of one training after the other.
#[derive(Default)]
pub struct Wrapper {
    fit: Option<usize>,
    prefix: String,
}

impl Wrapper {
    /// Takes it off the names of a step's quantities.
    ///
    /// # Errors
    /// Two names that become one; the message names both.
    pub fn take_off(&mut self, step: &mut Step) -> Result<(), String> {
        if self.fit != Some(step.fit) && !step.is_end() {
            (self.fit, self.prefix) = (Some(step.fit), wrapper_of(step));
        }
        if self.prefix.is_empty() || self.fit != Some(step.fit) {
            return Ok(());
        }
        let mut written: BTreeMap<String, String> = BTreeMap::new();
        for quantity in step.before.iter_mut().chain(&mut step.quantities) {
            let (what, parameter) = quantity.name.split_at(parameter(&quantity.name));
            let name = format!("{what}{}", parameter.strip_prefix(&self.prefix).unwrap_or(parameter));
            let other = written.entry(name.clone()).or_insert_with(|| quantity.name.clone());
            if *other != quantity.name {
                let [left, right, name] = [other, &quantity.name, &name].map(|name| shown(name));
                return Err(format!("{left} and {right} are one name, {name}, without what wraps the model"));
            }
            quantity.name = name;
        }
        Ok(())
    }
}

/// Where a parameter's name begins in that of a quantity.
fn parameter(name: &str) -> usize {
    if name.starts_with(GRADIENT) { GRADIENT.len() } else { names::parameter(name) }
}

/// Parameters are what has a gradient or a state of the optimizer's.
fn wrapper_of(step: &Step) -> String {
    let all: BTreeSet<&String> =
        step.before.iter().chain(&step.quantities).map(|quantity| &quantity.name).collect();
    let parameters = all.iter().filter_map(|name| {
        let start = parameter(name);
        all.get(&name[start..].to_owned()).filter(|_| start > 0).copied()
    });
    names::wrapper(parameters).to_owned()
}
