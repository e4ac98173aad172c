//! Named tensors on disk: `safetensors.torch.save_file` and `load_file`. Reading is safe for files of any content.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensorError::{MisalignedSlice, TensorInvalidInfo, ValidationOverflow};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorInfo, TensorView};
use serde::Deserialize;
use serde_json::Value;
use tch::{Device, Kind, TchError, Tensor};

use crate::torch;
use crate::util::file;
use crate::util::text::{excerpt, shown};

/// Hundreds of times the size of the notebook's larger model with its optimizer's state.
const MAX_BYTES: u64 = 1 << 30;

/// The header of the notebook's models has 500 bytes. The parser needs many times the header's size, and its own limit
/// is 100 MB.
const MAX_HEADER: u64 = 1 << 20;

/// The kinds of weights and buffers.
const KINDS: [(Dtype, Kind); 5] = [
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::BOOL, Kind::Bool),
];

/// More digits than any offset into a file has.
const MAX_DIGITS: usize = 18;

/// The reason why a file of tensors can't be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("a pickle, as torch.save and Lightning write it, which can run any program when it is loaded")]
    Pickle,
    #[error("not a valid safetensors file: {0}")]
    Invalid(String),
    #[error("{name} has dtype {dtype}, not {expected}")]
    Dtype { name: String, dtype: Dtype, expected: Dtype },
    #[error("{0} is empty")]
    Empty(String),
    #[error("{0} contains NaN")]
    Nan(String),
    #[error("{left} and {right} both become {name} without the wrapper's prefix")]
    OneName { left: String, right: String, name: String },
    #[error("{name} is of kind {kind:?}, which can't be saved")]
    Kind { name: String, kind: Kind },
    #[error(transparent)]
    Torch(#[from] torch::Error),
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        torch::Error::from(error).into()
    }
}

impl From<safetensors::SafeTensorError> for Error {
    fn from(error: safetensors::SafeTensorError) -> Self {
        Self::Invalid(excerpt(error.to_string().as_bytes(), 0))
    }
}

/// Loads the f32 tensors of a safetensors file to the CPU; `safetensors.torch.load_file`.
///
/// # Errors
/// Fails if the file can't be read, is not valid, or contains tensors of another kind, an empty tensor or NaN.
pub fn load(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    floats(parse(&read(path)?)?)
}

/// Saves tensors of f32, f64, i64, i32, bool or u8, of any device; `safetensors.torch.save_file`.
///
/// # Errors
/// Fails if a tensor is of another kind, or the file can't be written.
pub fn save(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), Error> {
    Ok(file::write(path, &serialize(tensors, |_| Ok(None))?)?)
}

/// Reads the bytes of a file of tensors.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, file::Error> {
    file::read(path, MAX_BYTES)
}

/// Parses the tensors in a file's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, TensorView<'_>>, Error> {
    if bytes.starts_with(b"PK") {
        return Err(Error::Pickle);
    }
    Ok(open(bytes)?.tensors().into_iter().collect())
}

/// Copies the tensors to the CPU. Fails for an empty tensor, another kind than f32, or NaN.
pub(crate) fn floats(views: BTreeMap<String, TensorView>) -> Result<BTreeMap<String, Tensor>, Error> {
    tensors_of(&KINDS[..1], views)
}

/// The same with the kinds of a module's buffers too, such as BatchNorm's counter.
pub(crate) fn buffers(views: BTreeMap<String, TensorView>) -> Result<BTreeMap<String, Tensor>, Error> {
    tensors_of(&KINDS, views)
}

fn tensors_of(
    kinds: &[(Dtype, Kind)],
    views: BTreeMap<String, TensorView>,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let tensor = |(name, view): (String, TensorView)| {
        let (dtype, shown) = (view.dtype(), shown(&name));
        let Some((_, kind)) = kinds.iter().find(|(allowed, _)| *allowed == dtype) else {
            return Err(Error::Dtype { name: shown, dtype, expected: Dtype::F32 });
        };
        if view.data().is_empty() {
            return Err(Error::Empty(shown));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, *kind)?;
        if bool::try_from(tensor.f_isnan()?.f_any()?)? {
            return Err(Error::Nan(shown));
        }
        Ok((name, tensor))
    };
    views.into_iter().map(tensor).collect()
}

/// Parses a file of any content without a panic, in memory bounded by a multiple of its header.
pub(crate) fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, Error> {
    let mut header = &[][..];
    if let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER {
            let reason = format!("its header claims {length} bytes, more than {MAX_HEADER}");
            return Err(Error::Invalid(reason));
        }
        header = &rest[..rest.len().min(length as usize)];
        if longest_number(header) > MAX_DIGITS {
            return Err(Error::Invalid("its header names an offset or a size beyond any file".into()));
        }
    }
    SafeTensors::deserialize(bytes).map_err(|error| {
        if let TensorInvalidInfo | ValidationOverflow | MisalignedSlice = error
            && let Some(name) = contradictory(header)
        {
            return Error::Invalid(format!("{}: {error}", excerpt(name.as_bytes(), 0)));
        }
        error.into()
    })
}

/// Returns the first tensor whose shape and dtype contradict its offsets; safetensors' error does not name it.
fn contradictory(header: &[u8]) -> Option<String> {
    let fields: BTreeMap<String, Value> = serde_json::from_slice(header).ok()?;
    let mut tensors =
        fields.into_iter().filter_map(|(name, value)| Some((name, TensorInfo::deserialize(value).ok()?)));
    let contradicts = |info: &TensorInfo| {
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &length| bits.checked_mul(length));
        let (start, end) = info.data_offsets;
        bits.is_none() || bits != end.checked_sub(start).and_then(|bytes| bytes.checked_mul(8))
    };
    tensors.find(|(_, info)| contradicts(info)).map(|(name, _)| name)
}

/// Counts the digits of the longest number outside the JSON strings. safetensors 0.8 adds the last offset and the header's
/// length unchecked, which overflows for offsets near 2^64 and panics in a debug build.
fn longest_number(header: &[u8]) -> usize {
    let (mut in_string, mut escaped, mut digits, mut longest) = (false, false, 0, 0);
    for byte in header {
        digits = if byte.is_ascii_digit() && !in_string { digits + 1 } else { 0 };
        longest = longest.max(digits);
        in_string ^= *byte == b'"' && !escaped;
        escaped = in_string && *byte == b'\\' && !escaped;
    }
    longest
}

/// The text under a key in a file that [`open`] has accepted.
pub(crate) fn metadata(bytes: &[u8], key: &str) -> Result<Option<String>, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned()))
}

/// A tensor's bytes, row by row, in the machine's order, which is little-endian. The tensor may be on any device.
pub(crate) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// The bytes of a file of `tensors`, of any device. `metadata` may add a text about them under a key.
pub(crate) fn serialize<'a>(
    tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    metadata: impl FnOnce(&BTreeMap<String, TensorView>) -> Result<Option<(&'static str, String)>, Error>,
) -> Result<Vec<u8>, Error> {
    let mut contents = vec![];
    for (name, tensor) in tensors {
        let kind = tensor.kind();
        let known = KINDS.iter().chain(&[(Dtype::U8, Kind::Uint8)]).find(|(_, known)| *known == kind);
        let (dtype, _) = known.copied().ok_or_else(|| Error::Kind { name: name.clone(), kind })?;
        let shape: Vec<usize> = tensor.size().into_iter().map(|length| length as usize).collect();
        contents.push((name, dtype, shape, bytes(tensor)?));
    }
    let views = contents.iter().map(|(name, dtype, shape, bytes)| {
        Ok(((*name).clone(), TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<BTreeMap<_, _>, Error>>()?;
    let metadata = metadata(&views)?.map(|(key, text)| HashMap::from([(key.to_string(), text)]));
    Ok(safetensors::serialize(views, metadata)?)
}

/// Wrappers put a prefix before the name of every parameter: torch.compile `_orig_mod.`, DistributedDataParallel `module.`,
/// and a LightningModule with the network in `model`, such as ISLP's, `model.`. One may wrap another. The prefix is removed
/// wherever tensors are compared by name, if all parameters have it. `python/islp_mnist/names.py` has the same rule.
pub(crate) mod names {
    use std::collections::BTreeMap;

    use super::Error;
    use crate::torch::generator::states;
    use crate::util::text::shown;

    const WRAPPERS: [&str; 3] = ["_orig_mod.", "module.", "model."];
    /// The prefix of an optimizer's states in a checkpoint: `optimizer.STATE.NAME`.
    const OPTIMIZER: &str = "optimizer.";

    /// The wrappers' prefix of all parameters' names; empty if one lacks it.
    pub(crate) fn wrapper<'a>(names: impl IntoIterator<Item = &'a String>) -> &'a str {
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        let mut length = 0;
        let have = |length: usize, wrapper: &str| {
            names.iter().all(|name| name[length..].strip_prefix(wrapper).is_some_and(|rest| !rest.is_empty()))
        };
        while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| !names.is_empty() && have(length, wrapper)) {
            length += wrapper.len();
        }
        names.first().map_or("", |name| &name[..length])
    }

    /// The index in a tensor's name at which the parameter's name begins: after `optimizer.STATE.`, or 0.
    pub(crate) fn parameter(name: &str) -> usize {
        let state = name.strip_prefix(OPTIMIZER).and_then(|rest| rest.find('.'));
        state.map_or(0, |length| OPTIMIZER.len() + length + 1)
    }

    /// True if a name in a file belongs to a generator's state, or to the optimizer's for a parameter in the file.
    pub(crate) fn is_state<T>(name: &str, tensors: &BTreeMap<String, T>) -> bool {
        let start = parameter(name);
        states::ALL.contains(&name) || start > 0 && tensors.contains_key(&name[start..])
    }

    /// Removes the wrappers' prefix from the names of a file's tensors, some of which may be a checkpoint's states.
    ///
    /// # Errors
    /// Fails if two names become one.
    pub(crate) fn unwrapped<T>(tensors: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, Error> {
        let wrapper = wrapper(tensors.keys().filter(|name| !is_state(name, &tensors))).to_owned();
        if wrapper.is_empty() {
            return Ok(tensors);
        }
        let rename = |name: &str| {
            let (state, parameter) =
                name.split_at(if is_state(name, &tensors) { parameter(name) } else { 0 });
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
}

#[cfg(test)]
mod tests {
    use super::Error;
    use super::names::unwrapped;

    fn names(names: &[&str]) -> Result<Vec<String>, Error> {
        let tensors = names.iter().map(|name| (name.to_string(), ())).collect();
        Ok(unwrapped(tensors)?.into_keys().collect())
    }

    #[test]
    fn a_wrappers_prefix_is_removed_if_all_parameters_have_it() {
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
    fn the_states_of_a_checkpoint_are_not_parameters_and_are_renamed_with_them() {
        let checkpoint = ["generator.state", "module.a", "optimizer.square_avg.module.a"];
        assert_eq!(names(&checkpoint).unwrap(), ["a", "generator.state", "optimizer.square_avg.a"]);
        // Parameters of a network called `generator`, and the state of a parameter that is not there.
        assert_eq!(names(&["generator.a", "module.a"]).unwrap(), ["generator.a", "module.a"]);
        assert_eq!(
            names(&["module.a", "optimizer.x.module.b"]).unwrap(),
            ["module.a", "optimizer.x.module.b"]
        );
    }

    #[test]
    fn if_two_names_become_one_the_error_names_both() {
        let both = ["module.a", "module.optimizer.x.a", "optimizer.x.module.a"];
        let error = names(&both).unwrap_err().to_string();
        assert!(error.contains(both[1]) && error.contains(both[2]), "{error}");
    }
}
