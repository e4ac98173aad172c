//! Checkpoints: everything that a run needs to go on as if it had never stopped. Lightning's lack the generator.
//!
//! A checkpoint is a safetensors file with the weights by their names in Python, RMSprop's `square_avg` as
//! `optimizer.square_avg.NAME`, the generator's state as `generator.state`, as `torch.set_rng_state` takes it, where
//! dropout draws from CUDA's also that as `generator.cuda.state`, as `torch.cuda.set_rng_state` takes it, where a source of
//! randomness is varied also `generator.varied.state`, and the rest as JSON in the file's metadata.

mod metadata;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tch::{Tensor, no_grad};

use crate::islp;
use crate::islp::module::SimpleModule;
use crate::lightning::error::{CheckpointError, Error};
use crate::torch::generator::{Generator, states};
use crate::torch::state_dict::{self, names};
use crate::util::text::shown;

const SQUARE_AVG: &str = "optimizer.square_avg.";
/// How the names of generators' states begin.
const GENERATOR: &str = "generator.";
/// How the tensors begin that a checkpoint holds besides the weights.
const STATES: [&str; 2] = ["optimizer.", GENERATOR];
/// The folder of a run's checkpoints, in its own.
pub(crate) const FOLDER: &str = "checkpoints";
/// The newest of them.
pub(crate) const LAST: &str = "last.safetensors";

/// Where a run stands after an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// The epoch just finished, from 0.
    pub epoch: usize,
    /// Training steps taken in all.
    pub global_step: usize,
    /// Validation loss after that epoch, in nats; none if it was not finite.
    pub valid_loss: Option<f32>,
    /// SHA-256 of metrics.csv as it was then, in hexadecimal.
    pub metrics_sha256: String,
}

/// A checkpoint read from disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// Where the run stood.
    pub state: TrainerState,
    /// What the run was started with, as JSON; Lightning's `hyper_parameters`.
    pub hyper_parameters: Box<RawValue>,
    path: PathBuf,
    weights: BTreeMap<String, Tensor>,
    square_avg: BTreeMap<String, Tensor>,
    /// The states of generators, by their names.
    generators: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// What is no checkpoint, or one that is damaged.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(path, &state_dict::read(path)?)
    }

    /// The newest checkpoint of the run in `log_dir`, if it has one.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn last(log_dir: &Path) -> Result<Option<Self>, Error> {
        let path = log_dir.join(FOLDER).join(LAST);
        // A link that leads nowhere is an error, not the absence of a checkpoint.
        if path.symlink_metadata().is_err() { Ok(None) } else { Self::load(&path).map(Some) }
    }

    /// The checkpoint in the bytes of the file `path`.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.to_path_buf();
        let parse = || -> Result<_, CheckpointError> {
            let mut views = state_dict::parse(bytes)?;
            let (state, hyper_parameters) = metadata::read(bytes, &views)?;
            let generators = views.extract_if(GENERATOR.to_string().., |name, _| name.starts_with(GENERATOR));
            let generators = generators.map(bytes_of).collect::<Result<BTreeMap<_, _>, _>>()?;
            if !generators.contains_key(states::MAIN) {
                return Err(CheckpointError::Lacks(states::MAIN.into()));
            }
            // Only now: the checksum is over the names as they are written.
            Ok((state, hyper_parameters, generators, names::unwrapped(state_dict::floats(views)?)?))
        };
        let (state, hyper_parameters, generators, floats) =
            parse().map_err(|reason| Error::Checkpoint { path: path.clone(), reason })?;
        let (mut weights, mut square_avg) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in floats {
            match name.strip_prefix(SQUARE_AVG) {
                Some(parameter) => square_avg.insert(parameter.to_string(), tensor),
                None => weights.insert(name, tensor),
            };
        }
        Ok(Self { state, hyper_parameters, path, weights, square_avg, generators })
    }

    /// Puts module and generator where they were.
    ///
    /// # Errors
    /// A checkpoint of another model; the message names what differs.
    pub fn restore(&self, module: &mut SimpleModule, generator: &Generator) -> Result<(), Error> {
        let restored = self.restore_parts(module, generator);
        restored.map_err(|reason| Error::Checkpoint { path: self.path.clone(), reason })
    }

    fn restore_parts(&self, module: &mut SimpleModule, generator: &Generator) -> Result<(), CheckpointError> {
        let state = |name: &str, reason: String| CheckpointError::State {
            name: format!("{SQUARE_AVG}{}", shown(name)),
            reason,
        };
        let names: Vec<_> = generator.states(module.vs.device()).into_iter().map(|(name, _)| name).collect();
        if let Some(name) = names.iter().find(|name| !self.generators.contains_key(**name)) {
            return Err(CheckpointError::Lacks(name.to_string()));
        }
        if let Some(name) = self.generators.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(CheckpointError::State {
                name: shown(name),
                reason: "is of a run that draws otherwise".into(),
            });
        }
        module.load_state_dict(&self.weights)?;
        if let Some(name) = self.square_avg.keys().find(|name| !self.weights.contains_key(*name)) {
            return Err(state(name, "is of no parameter".into()));
        }
        let wrapper = names::wrapper(module.state_dict().keys()).len();
        for (name, square_avg) in module.optimizer.square_avg_mut() {
            let Some(saved) = self.square_avg.get(&name[wrapper..]) else {
                return Err(CheckpointError::Lacks(format!("{SQUARE_AVG}{name}")));
            };
            let (size, expected) = (saved.size(), square_avg.size());
            if size != expected {
                return Err(state(name, format!("is of shape {size:?}, not {expected:?}")));
            }
            no_grad(|| square_avg.f_copy_(saved)).map_err(islp::Error::from)?;
        }
        for name in names {
            let set = generator.set_state_of(name, &self.generators[name]);
            set.map_err(|reason| CheckpointError::Generator { name, reason })?;
        }
        Ok(())
    }
}

fn bytes_of((name, view): (String, TensorView)) -> Result<(String, Vec<u8>), CheckpointError> {
    if view.dtype() != Dtype::U8 {
        let reason = format!("is of {}, not of U8", view.dtype());
        return Err(CheckpointError::State { name: shown(&name), reason });
    }
    Ok((name, view.data().to_vec()))
}

/// Of the tensors in a file's `bytes` those that are weights. Of a checkpoint they are what is left without the states.
///
/// # Errors
/// A damaged checkpoint.
pub(crate) fn retain_weights(
    bytes: &[u8],
    tensors: &mut BTreeMap<String, TensorView>,
) -> Result<(), CheckpointError> {
    let is_state = |name: &str| STATES.iter().any(|state| name.starts_with(state));
    if tensors.keys().any(|name| is_state(name)) {
        metadata::read(bytes, tensors)?;
    }
    tensors.retain(|name, _| !is_state(name));
    Ok(())
}

/// The bytes of a checkpoint.
///
/// # Errors
/// libtorch's, when memory is short.
pub(crate) fn serialize(
    module: &SimpleModule,
    generator: &Generator,
    state: &TrainerState,
    hyper_parameters: &RawValue,
) -> Result<Vec<u8>, state_dict::Error> {
    let mut tensors = module.state_dict();
    for (name, square_avg) in module.optimizer.square_avg() {
        tensors.insert(format!("{SQUARE_AVG}{name}"), square_avg.shallow_clone());
    }
    for (name, state) in generator.states(module.vs.device()) {
        tensors.insert(name.to_string(), Tensor::f_from_slice(&state)?);
    }
    state_dict::serialize(&tensors, |views| {
        let json = metadata::write(views, state, hyper_parameters);
        Ok(Some((metadata::KEY, json.map_err(|error| state_dict::Error::Invalid(error.to_string()))?)))
    })
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::torch::nn::linear;

    /// A module whose parameters have names that begin with `wrapper`.
    fn module(wrapper: &str, generator: &Generator) -> SimpleModule {
        let vs = VarStore::new(Device::Cpu);
        let path = wrapper.split_terminator('.').fold(vs.root(), |path, part| path / part);
        let layer = linear(path / "layer", 3, 2, generator).unwrap();
        SimpleModule::classification(Box::new(layer), vs, 0.01).unwrap()
    }

    #[test]
    fn a_module_goes_on_from_a_checkpoint_of_one_that_is_wrapped_otherwise() {
        let state =
            TrainerState { epoch: 0, global_step: 1, valid_loss: None, metrics_sha256: String::new() };
        let hyper_parameters = RawValue::from_string("{}".into()).unwrap();
        let generator = Generator::new(1);
        for (from, to) in [("module.", ""), ("", "model."), ("model._orig_mod.", "module."), ("", "")] {
            let saved = module(from, &generator);
            let bytes = serialize(&saved, &generator, &state, &hyper_parameters).unwrap();
            let checkpoint = Checkpoint::parse(Path::new("a"), &bytes).unwrap();
            let mut restored = module(to, &Generator::new(2));
            checkpoint.restore(&mut restored, &generator).unwrap();
            let weight = |module: &SimpleModule, wrapper| {
                module.state_dict()[&format!("{wrapper}layer.weight")].copy()
            };
            assert!(weight(&saved, from).equal(&weight(&restored, to)), "{from} into {to}");
        }
    }

    #[test]
    fn a_state_of_one_parameter_under_two_names_is_an_error_that_names_both() {
        let tensors = ["module.a", "module.optimizer.square_avg.a", "optimizer.square_avg.module.a"];
        let mut named: BTreeMap<String, Tensor> =
            tensors.iter().map(|name| (name.to_string(), Tensor::from_slice(&[1f32]))).collect();
        named.insert(states::MAIN.into(), Tensor::from_slice(&Generator::new(0).get_state()));
        let state =
            TrainerState { epoch: 0, global_step: 1, valid_loss: None, metrics_sha256: String::new() };
        let hyper_parameters = RawValue::from_string("{}".into()).unwrap();
        let bytes = state_dict::serialize(&named, |views| {
            Ok(Some((metadata::KEY, metadata::write(views, &state, &hyper_parameters).unwrap())))
        });
        let error = Checkpoint::parse(Path::new("a"), &bytes.unwrap()).unwrap_err().to_string();
        assert!(tensors[1..].iter().all(|name| error.contains(name)), "{error}");
    }
}
