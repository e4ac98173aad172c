//! The weights of the notebook's models on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::nn::VarStore;
use tch::{Device, TchError, Tensor};

use super::models::Model;
use crate::islp::{self, SimpleModule};
use crate::lightning::{CheckpointError, checkpoint};
use crate::torch::Generator;
use crate::torch::state_dict::{self, names};
use crate::util::{file, text::shown};

/// The file of the weights in a run's folder.
pub const FILE: &str = "model.safetensors";

/// MNISTModel's `_forward` contains `layer1` and `layer2`, so each of their parameters has two names in Python.
/// `safetensors.torch.save_model` writes either.
const ALIASES: [(&str, &str); 2] = [("_forward.0.", "layer1."), ("_forward.1.", "layer2.")];

/// An error of reading weights.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("{}: neither {} nor {FILE} in this folder", .0.display(), last())]
    Nothing(PathBuf),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", shown(&path.to_string_lossy()))]
    Content { path: PathBuf, reason: ContentError },
}

impl Error {
    /// True if the file is sound, but has another model than the notebook's.
    pub fn is_of_other_model(&self) -> bool {
        use islp::Error::{KindMismatch, MissingKey, SizeMismatch, UnexpectedKey};
        let Self::Content { reason, .. } = self else { return false };
        match reason {
            ContentError::OtherModel(_) => true,
            ContentError::Module(error) => matches!(
                error,
                UnexpectedKey { .. } | MissingKey { .. } | SizeMismatch { .. } | KindMismatch { .. }
            ),
            ContentError::Tensors(error) => matches!(error, state_dict::Error::Dtype { .. }),
            _ => false,
        }
    }
}

/// The reason why a file's bytes are not the weights of one of the notebook's models.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum ContentError {
    #[error("{0} contains NaN or infinity")]
    Infinite(String),
    #[error("contains no parameter of MNISTModel or MNIST_MLR; its tensors: {}", .0.join(", "))]
    OtherModel(Vec<String>),
    #[error("{alias} and {name} are the same parameter, but differ")]
    AliasesDiffer { alias: String, name: String },
    #[error(transparent)]
    Tensors(#[from] state_dict::Error),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Module(#[from] islp::Error),
}

/// Writes every parameter under its name in Python's `state_dict()`; `safetensors.torch.save_model`.
///
/// # Errors
/// Fails if the file can't be written.
pub fn save(module: &SimpleModule, path: &Path) -> Result<(), state_dict::Error> {
    state_dict::save(&module.state_dict(), path)
}

/// True if no unit of the model's first hidden layer fires for the image, `[1, 1, 28, 28]`. The prediction then depends
/// only on biases and later weights. False for logistic regression, which has no hidden layer.
///
/// # Errors
/// Fails if the image has another shape or device than the model takes.
pub fn is_first_layer_silent(module: &SimpleModule, image: &Tensor) -> Result<bool, TchError> {
    let parameters = module.state_dict();
    let [Some(weight), Some(bias)] =
        ["weight", "bias"].map(|name| parameters.get(&format!("layer1.1.{name}")))
    else {
        return Ok(false);
    };
    let units = image.f_flatten(1, -1)?.f_linear(weight, Some(bias))?;
    Ok(f64::try_from(units.f_max()?)? <= 0.0)
}

/// Reads a model from `path`: a file of weights, a checkpoint, or a run's folder with either. A wrapper's prefix of every
/// name, such as `module.` in Python, is ignored.
///
/// # Errors
/// Fails if there is no such file, or its parameters are not exactly those of one model.
pub fn load(path: &Path, device: Device) -> Result<SimpleModule, Error> {
    let path = find(path)?;
    let bytes = state_dict::read(&path)?;
    module(&bytes, device).map_err(|reason| Error::Content { path, reason })
}

/// Reads a model from a file's bytes.
///
/// # Errors
/// Fails like [`load`]; the error does not name the file.
pub fn module(bytes: &[u8], device: Device) -> Result<SimpleModule, ContentError> {
    let mut views = state_dict::parse(bytes)?;
    checkpoint::retain_weights(bytes, &mut views)?;
    let mut tensors = names::unwrapped(state_dict::floats(views)?)?;
    for (name, tensor) in &tensors {
        let is_finite = tensor.f_isfinite().and_then(|finite| finite.f_all()).and_then(bool::try_from);
        if !is_finite.map_err(state_dict::Error::from)? {
            return Err(ContentError::Infinite(shown(name)));
        }
    }
    rename_aliases(&mut tensors)?;
    for model in Model::ALL {
        let vs = VarStore::new(device);
        let layers = model.build(&vs.root(), &Generator::new(0)).map_err(islp::Error::from)?;
        if vs.variables().keys().any(|name| tensors.contains_key(name)) {
            let mut module = SimpleModule::classification(layers, vs, 0.0)?;
            module.load_state_dict(&tensors)?;
            return Ok(module);
        }
    }
    Err(ContentError::OtherModel(tensors.keys().take(3).map(|name| shown(name)).collect()))
}

/// The path of the newest checkpoint in a run's folder.
fn last() -> String {
    format!("{}/{}", checkpoint::FOLDER, checkpoint::LAST)
}

/// Returns `path` if it is a file, or the newest weights in a run's folder.
pub(crate) fn find(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    // The last checkpoint is never older than the weights, which a run writes at its end.
    let files = [last().as_str(), FILE].map(|file| path.join(file));
    files.into_iter().find(|file| file.exists()).ok_or_else(|| Error::Nothing(path.to_path_buf()))
}

/// Returns the main name of a parameter that has two in Python, or of the optimizer's state for it in a checkpoint.
pub fn canonical_name(name: &str) -> String {
    let (state, parameter) = name.split_at(names::parameter(name));
    let renamed =
        ALIASES.iter().find_map(|(alias, to)| Some(format!("{to}{}", parameter.strip_prefix(alias)?)));
    renamed.map_or_else(|| name.to_owned(), |renamed| format!("{state}{renamed}"))
}

fn rename_aliases(tensors: &mut BTreeMap<String, Tensor>) -> Result<(), ContentError> {
    let aliased: Vec<_> = tensors.keys().filter(|key| canonical_name(key) != **key).cloned().collect();
    for key in aliased {
        let name = canonical_name(&key);
        let Some(tensor) = tensors.remove(&key) else { continue };
        if let Some(other) = tensors.get(&name) {
            let is_equal =
                other.size() == tensor.size() && other.f_equal(&tensor).map_err(state_dict::Error::from)?;
            if !is_equal {
                return Err(ContentError::AliasesDiffer { alias: shown(&key), name: shown(&name) });
            }
        }
        tensors.insert(name, tensor);
    }
    Ok(())
}
