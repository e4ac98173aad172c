//! What wraps a model puts something before the name of every parameter: `_orig_mod.` is torch.compile's, `module.` that of
//! DistributedDataParallel, and `model.` that of a LightningModule with the network in `model`, such as ISLP's. One may
//! wrap the other. It goes wherever tensors are held against each other by name, if all parameters bear it.
//! `scripts/parity_names.py` has the same rule.

use std::collections::BTreeMap;

use super::Error;
use crate::torch::generator::states;
use crate::util::text::shown;

const WRAPPERS: [&str; 3] = ["_orig_mod.", "module.", "model."];
/// How the names of an optimizer's states begin in a checkpoint: `optimizer.STATE.NAME`.
const OPTIMIZER: &str = "optimizer.";

/// What wrappers have put before each of the parameters' names; nothing if one lacks it.
pub(crate) fn wrapper<'a>(names: impl IntoIterator<Item = &'a String>) -> &'a str {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let mut length = 0;
    let bear = |length: usize, wrapper: &str| {
        names.iter().all(|name| name[length..].strip_prefix(wrapper).is_some_and(|rest| !rest.is_empty()))
    };
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| !names.is_empty() && bear(length, wrapper)) {
        length += wrapper.len();
    }
    names.first().map_or("", |name| &name[..length])
}

/// Where a parameter's name begins in that of a tensor: behind `optimizer.STATE.`, or at once.
pub(crate) fn parameter(name: &str) -> usize {
    let state = name.strip_prefix(OPTIMIZER).and_then(|rest| rest.find('.'));
    state.map_or(0, |length| OPTIMIZER.len() + length + 1)
}

/// Whether a name in a file is no parameter's: that of a generator's state, or of the optimizer's for a parameter there.
pub(crate) fn is_state<T>(name: &str, tensors: &BTreeMap<String, T>) -> bool {
    let start = parameter(name);
    states::ALL.contains(&name) || start > 0 && tensors.contains_key(&name[start..])
}

/// A file's tensors, of which some may be a checkpoint's states, by their names without what wraps the model.
///
/// # Errors
/// Two names that become one.
pub(crate) fn unwrapped<T>(tensors: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, Error> {
    let wrapper = wrapper(tensors.keys().filter(|name| !is_state(name, &tensors))).to_owned();
    if wrapper.is_empty() {
        return Ok(tensors);
    }
    let rename = |name: &str| {
        let (state, parameter) = name.split_at(if is_state(name, &tensors) { parameter(name) } else { 0 });
        format!("{state}{}", parameter.strip_prefix(wrapper.as_str()).unwrap_or(parameter))
    };
    let names: Vec<String> = tensors.keys().map(|name| rename(name)).collect();
    let mut firsts: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, written) in names.iter().zip(tensors.keys()) {
        if let Some(first) = firsts.insert(name, written) {
            let [left, right, name] = [first, written, name].map(shown);
            return Err(Error::OneName { left, right, name });
        }
    }
    Ok(names.into_iter().zip(tensors.into_values()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Result<Vec<String>, Error> {
        let tensors = names.iter().map(|name| (name.to_string(), ())).collect();
        Ok(unwrapped(tensors)?.into_keys().collect())
    }

    #[test]
    fn what_wraps_a_model_goes_where_all_parameters_bear_it() {
        for wrapper in [
            "_orig_mod.",
            "module.",
            "model.",
            "model._orig_mod.",
            "module.module.",
            "model.module._orig_mod.",
        ] {
            assert_eq!(names(&[&format!("{wrapper}a"), &format!("{wrapper}b.c")]).unwrap(), ["a", "b.c"]);
        }
        assert_eq!(names(&["model.a", "b"]).unwrap(), ["b", "model.a"]);
        assert_eq!(names(&["model._orig_mod.a", "model.a"]).unwrap(), ["_orig_mod.a", "a"]);
        assert_eq!(names(&["model.", "model.a"]).unwrap(), ["model.", "model.a"]);
        assert_eq!(names(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn the_states_of_a_checkpoint_are_no_parameters_and_follow_these() {
        let checkpoint = ["generator.state", "module.a", "optimizer.square_avg.module.a"];
        assert_eq!(names(&checkpoint).unwrap(), ["a", "generator.state", "optimizer.square_avg.a"]);
        // The parameters of a network called `generator`, and states of a parameter that is not there.
        assert_eq!(names(&["generator.a", "module.a"]).unwrap(), ["generator.a", "module.a"]);
        assert_eq!(
            names(&["module.a", "optimizer.x.module.b"]).unwrap(),
            ["module.a", "optimizer.x.module.b"]
        );
    }

    #[test]
    fn two_names_that_become_one_are_an_error_that_names_both() {
        let both = ["module.a", "module.optimizer.x.a", "optimizer.x.module.a"];
        let error = names(&both).unwrap_err().to_string();
        assert!(error.contains(both[1]) && error.contains(both[2]), "{error}");
    }
}
