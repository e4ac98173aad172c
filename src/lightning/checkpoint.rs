//! Checkpoints: everything a run needs to resume bit-exactly. Lightning's lack the generator.
//!
//! A checkpoint is a safetensors file. It contains
//! - the weights by their names in Python;
//! - the optimizer's states as `optimizer.STATE.NAME`, such as RMSprop's `optimizer.square_avg.NAME`;
//! - the generator's state as `generator.state`, in the form of `torch.set_rng_state`; if dropout draws from CUDA's
//!   generator, also `generator.cuda.state`, in the form of `torch.cuda.set_rng_state`; if a source of randomness is
//!   varied, also `generator.varied.state`;
//! - the rest as JSON in the file's metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use tch::{Tensor, no_grad};

use super::epoch::{BatchProgress, Epoch};
use super::error::{CheckpointError, Error};
use crate::islp::{self, SimpleModule};
use crate::torch::generator::{Generator, states};
use crate::torch::state_dict::{self, names};
use crate::util::text::{hex, shown};

/// The prefix of the optimizer's states.
const OPTIMIZER: &str = "optimizer.";
/// The prefix of the generators' states.
const GENERATOR: &str = "generator.";
/// The prefixes of all tensors that are not weights.
const STATES: [&str; 2] = [OPTIMIZER, GENERATOR];
/// The key of [`Metadata`] in the file's metadata.
const KEY: &str = "checkpoint";
/// The subfolder of a run's checkpoints.
pub(crate) const FOLDER: &str = "checkpoints";
/// The newest checkpoint in [`FOLDER`].
pub(crate) const LAST: &str = "last.safetensors";

/// The state of a run after an epoch, or within one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// The epoch just finished, or not yet if there is a `batch_progress`; from 0.
    pub epoch: usize,
    /// Training steps taken so far.
    pub global_step: usize,
    /// Validation loss after that epoch, in nats; none if it is not finite, or the epoch is not finished.
    pub valid_loss: Option<f32>,
    /// SHA-256 of metrics.csv at that time, in hexadecimal.
    pub metrics_sha256: String,
    /// The states of learning-rate schedulers, which only Python's side saves and resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_schedulers: Option<Value>,
    /// The progress within the epoch; none if it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_progress: Option<BatchProgress>,
}

impl TrainerState {
    /// Epochs finished so far.
    pub fn epochs_done(&self) -> usize {
        if self.batch_progress.is_some() { self.epoch } else { self.epoch + 1 }
    }
}

/// A checkpoint read from disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// The state of the run.
    pub state: TrainerState,
    /// The options of the run, as JSON; Lightning's `hyper_parameters`.
    pub hyper_parameters: Box<RawValue>,
    path: PathBuf,
    weights: BTreeMap<String, Tensor>,
    /// The optimizer's states, by `STATE.NAME`.
    states: BTreeMap<String, Tensor>,
    /// The generators' states by name.
    generators: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// Fails if the file can't be read, is not a checkpoint or is damaged.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(path, &state_dict::read(path)?)
    }

    /// Reads the newest checkpoint of the run in `log_dir`, if it has one.
    ///
    /// # Errors
    /// Fails like [`Checkpoint::load`].
    pub fn last(log_dir: &Path) -> Result<Option<Self>, Error> {
        let path = log_dir.join(FOLDER).join(LAST);
        // A broken symlink is an error, not the absence of a checkpoint.
        if path.symlink_metadata().is_err() { Ok(None) } else { Self::load(&path).map(Some) }
    }

    /// Parses the bytes of the file `path`.
    ///
    /// # Errors
    /// Fails like [`Checkpoint::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.to_path_buf();
        let parse = || -> Result<_, CheckpointError> {
            let mut views = state_dict::parse(bytes)?;
            let (state, hyper_parameters) = read_metadata(bytes, &views)?;
            let generators = views.extract_if(GENERATOR.to_string().., |name, _| name.starts_with(GENERATOR));
            let generators = generators.map(bytes_of).collect::<Result<BTreeMap<_, _>, _>>()?;
            if !generators.contains_key(states::MAIN) {
                return Err(CheckpointError::Lacks(states::MAIN.into()));
            }
            // Names are unwrapped last, because the checksum covers them as written.
            Ok((state, hyper_parameters, generators, names::unwrapped(state_dict::buffers(views)?)?))
        };
        let (state, hyper_parameters, generators, tensors) =
            parse().map_err(|reason| Error::Checkpoint { path: path.clone(), reason })?;
        let (mut weights, mut states) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in tensors {
            match name.strip_prefix(OPTIMIZER) {
                Some(of_parameter) => states.insert(of_parameter.to_string(), tensor),
                None => weights.insert(name, tensor),
            };
        }
        Ok(Self { state, hyper_parameters, path, weights, states, generators })
    }

    /// Restores module and generator.
    ///
    /// # Errors
    /// Fails if the checkpoint is another model's; the message names the first difference.
    pub fn restore(&self, module: &mut SimpleModule, generator: &Generator) -> Result<(), Error> {
        let restored = self.restore_parts(module, generator);
        restored.map_err(|reason| Error::Checkpoint { path: self.path.clone(), reason })
    }

    /// The epoch that the run resumes within, if there is one.
    ///
    /// # Errors
    /// Fails if its module logs other metrics than ISLP's.
    pub(super) fn epoch_in_progress(&self) -> Result<Option<Epoch>, Error> {
        let Some(progress) = &self.state.batch_progress else { return Ok(None) };
        let other = || Error::Checkpoint { path: self.path.clone(), reason: CheckpointError::Results };
        Epoch::resume(progress).map(Some).ok_or_else(other)
    }

    fn restore_parts(&self, module: &mut SimpleModule, generator: &Generator) -> Result<(), CheckpointError> {
        let state = |name: &str, reason: String| CheckpointError::State {
            name: format!("{OPTIMIZER}{}", shown(name)),
            reason,
        };
        if self.state.lr_schedulers.is_some() {
            return Err(CheckpointError::Scheduler);
        }
        let names: Vec<_> = generator.states(module.vs.device()).into_iter().map(|(name, _)| name).collect();
        if let Some(name) = names.iter().find(|name| !self.generators.contains_key(**name)) {
            return Err(CheckpointError::Lacks(name.to_string()));
        }
        if let Some(name) = self.generators.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(CheckpointError::State {
                name: shown(name),
                reason: "belongs to a run with other generators".into(),
            });
        }
        module.load_state_dict(&self.weights)?;
        let wrapper = names::wrapper(module.state_dict().keys()).len();
        let mut unused: BTreeSet<&String> = self.states.keys().collect();
        let parameters = module.optimizer.parameters();
        for (kind, tensors) in module.optimizer.states() {
            for ((name, _), tensor) in parameters.iter().zip(tensors) {
                let name = format!("{kind}.{}", &name[wrapper..]);
                let Some(saved) = self.states.get(&name) else {
                    return Err(CheckpointError::Lacks(format!("{OPTIMIZER}{name}")));
                };
                let (size, expected) = (saved.size(), tensor.size());
                if size != expected {
                    return Err(state(&name, format!("has shape {size:?}, not {expected:?}")));
                }
                let (kind, expected) = (saved.kind(), tensor.kind());
                if kind != expected {
                    return Err(state(&name, format!("is of kind {kind:?}, not {expected:?}")));
                }
                no_grad(|| tensor.shallow_clone().f_copy_(saved)).map_err(islp::Error::from)?;
                unused.remove(&name);
            }
        }
        if let Some(name) = unused.first() {
            let has_parameter = name.split_once('.').is_some_and(|(_, name)| self.weights.contains_key(name));
            let reason =
                if has_parameter { "belongs to another optimizer" } else { "belongs to no parameter" };
            return Err(state(name, reason.into()));
        }
        module.optimizer.set_steps(self.state.global_step);
        for name in names {
            let set = generator.set_state_of(name, &self.generators[name]);
            set.map_err(|reason| CheckpointError::Generator { name, reason })?;
        }
        Ok(())
    }
}

fn bytes_of((name, view): (String, TensorView)) -> Result<(String, Vec<u8>), CheckpointError> {
    if view.dtype() != Dtype::U8 {
        let reason = format!("has dtype {}, not U8", view.dtype());
        return Err(CheckpointError::State { name: shown(&name), reason });
    }
    Ok((name, view.data().to_vec()))
}

/// Removes the states from the `tensors` in a file's `bytes`, if it is a checkpoint; the rest are weights.
///
/// # Errors
/// Fails if the checkpoint is damaged.
pub(crate) fn retain_weights(
    bytes: &[u8],
    tensors: &mut BTreeMap<String, TensorView>,
) -> Result<(), CheckpointError> {
    let is_state = |name: &str| STATES.iter().any(|state| name.starts_with(state));
    if tensors.keys().any(|name| is_state(name)) {
        read_metadata(bytes, tensors)?;
    }
    tensors.retain(|name, _| !is_state(name));
    Ok(())
}

/// Serializes a checkpoint.
///
/// # Errors
/// Fails if memory is short, or the optimizer took steps with another trainer.
pub(crate) fn serialize(
    module: &SimpleModule,
    generator: &Generator,
    state: &TrainerState,
    hyper_parameters: &RawValue,
) -> Result<Vec<u8>, CheckpointError> {
    let global_step = state.global_step;
    if let Some(steps) = module.optimizer.steps().filter(|steps| *steps != global_step) {
        return Err(CheckpointError::Steps { steps, global_step });
    }
    let mut tensors = module.state_dict();
    let parameters = module.optimizer.parameters();
    for (state, of_parameters) in module.optimizer.states() {
        for ((name, _), tensor) in parameters.iter().zip(of_parameters) {
            tensors.insert(format!("{OPTIMIZER}{state}.{name}"), tensor.shallow_clone());
        }
    }
    for (name, state) in generator.states(module.vs.device()) {
        tensors.insert(name.to_string(), Tensor::f_from_slice(&state).map_err(state_dict::Error::from)?);
    }
    Ok(state_dict::serialize(&tensors, |views| {
        let json = write_metadata(views, state, hyper_parameters);
        Ok(Some((KEY, json.map_err(|error| state_dict::Error::Invalid(error.to_string()))?)))
    })?)
}

/// The JSON in the file's metadata. Version 0.1 has the same names, except `run` for `hyper_parameters`.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    /// The version that wrote the file.
    #[serde(default = "first_version")]
    islp_mnist: String,
    /// A [`TrainerState`], as written: the checksum covers its text, and Python formats numbers differently.
    progress: Box<RawValue>,
    /// JSON as written, for the same reason.
    #[serde(alias = "run")]
    hyper_parameters: Box<RawValue>,
    /// The [`digest`] of the rest of the file.
    sha256: String,
}

/// The version that did not record itself.
fn first_version() -> String {
    "0.1".into()
}

/// Reads state and hyper-parameters from the metadata of a checkpoint with these `tensors`.
///
/// # Errors
/// Fails if there are no metadata, another version wrote them, or the checksum differs.
fn read_metadata(
    bytes: &[u8],
    tensors: &BTreeMap<String, TensorView>,
) -> Result<(TrainerState, Box<RawValue>), CheckpointError> {
    let text = state_dict::metadata(bytes, KEY)?.ok_or(CheckpointError::OnlyWeights)?;
    let parse = || -> serde_json::Result<_> {
        let metadata: Metadata = serde_json::from_str(&text)?;
        Ok((serde_json::from_str::<TrainerState>(metadata.progress.get())?, metadata))
    };
    let (state, metadata) = parse().map_err(|_| not_readable(&text))?;
    let Metadata { progress, hyper_parameters, sha256, .. } = metadata;
    if digest(tensors, &progress, &hyper_parameters) != sha256 {
        return Err(CheckpointError::Damaged("its checksum does not match".into()));
    }
    let TrainerState { epoch, global_step, .. } = state;
    if epoch >= global_step {
        let reason = format!("epoch {epoch} cannot be at step {global_step}");
        return Err(CheckpointError::Damaged(reason));
    }
    let of_epoch = state.batch_progress.as_ref().map_or(1, |progress| progress.completed);
    if !(1..=global_step - epoch).contains(&of_epoch) {
        let reason = format!("step {global_step} cannot be step {of_epoch} of epoch {epoch}");
        return Err(CheckpointError::Damaged(reason));
    }
    Ok((state, hyper_parameters))
}

/// The metadata of a checkpoint with these `tensors`.
fn write_metadata(
    tensors: &BTreeMap<String, TensorView>,
    state: &TrainerState,
    hyper_parameters: &RawValue,
) -> serde_json::Result<String> {
    let progress = to_raw_value(state)?;
    let sha256 = digest(tensors, &progress, hyper_parameters);
    let (islp_mnist, hyper_parameters) = (env!("CARGO_PKG_VERSION").into(), hyper_parameters.to_owned());
    serde_json::to_string(&Metadata { islp_mnist, progress, hyper_parameters, sha256 })
}

/// The reason why this version can't read the metadata.
fn not_readable(text: &str) -> CheckpointError {
    let fields: Value = serde_json::from_str(text).unwrap_or_default();
    match fields["islp_mnist"].as_str() {
        Some(version) if version != env!("CARGO_PKG_VERSION") => CheckpointError::Version(shown(version)),
        _ => CheckpointError::Damaged("its metadata are not a checkpoint's".into()),
    }
}

/// SHA-256 of the tensors in the order of their names, the state and the hyper-parameters, in hexadecimal.
fn digest(
    tensors: &BTreeMap<String, TensorView>,
    progress: &RawValue,
    hyper_parameters: &RawValue,
) -> String {
    let mut sha256 = Sha256::new();
    for (name, view) in tensors {
        sha256.update(format!("{name} {} {:?}", view.dtype(), view.shape()));
        sha256.update(view.data());
    }
    sha256.update(format!("[{progress},{hyper_parameters}]"));
    hex(&sha256.finalize())
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::torch::nn::linear;

    /// A module whose parameter names start with `wrapper`.
    fn module(wrapper: &str, generator: &Generator) -> SimpleModule {
        let vs = VarStore::new(Device::Cpu);
        let path = wrapper.split_terminator('.').fold(vs.root(), |path, part| path / part);
        let layer = linear(path / "layer", 3, 2, generator).unwrap();
        SimpleModule::classification(Box::new(layer), vs, 0.01).unwrap()
    }

    #[test]
    fn a_module_resumes_from_a_checkpoint_of_one_with_another_wrapper() {
        let state = TrainerState { epoch: 0, global_step: 1, valid_loss: None, ..TrainerState::default() };
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
        let state = TrainerState { epoch: 0, global_step: 1, valid_loss: None, ..TrainerState::default() };
        let hyper_parameters = RawValue::from_string("{}".into()).unwrap();
        let bytes = state_dict::serialize(&named, |views| {
            Ok(Some((KEY, write_metadata(views, &state, &hyper_parameters).unwrap())))
        });
        let error = Checkpoint::parse(Path::new("a"), &bytes.unwrap()).unwrap_err().to_string();
        assert!(tensors[1..].iter().all(|name| error.contains(name)), "{error}");
    }
}
