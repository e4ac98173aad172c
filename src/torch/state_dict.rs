//! Tensors by name on disk: `safetensors.torch.save_file` and `load_file`. Read from files of any content.

pub(crate) mod names;

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

/// Hundreds of times as much as the notebook's larger model has with its optimizer's state.
const MAX_BYTES: u64 = 1 << 30;

/// The header of the notebook's models has 500 bytes. The parser needs many times the header's own size, and lets
/// it have 100 MB.
const MAX_HEADER: u64 = 1 << 20;

/// More digits than any offset into a file has.
const MAX_DIGITS: usize = 18;

/// What is wrong with a file of tensors.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("a pickle, as torch.save and Lightning write it, which can run any program when it is loaded")]
    Pickle,
    #[error("not a valid safetensors file: {0}")]
    Invalid(String),
    #[error("{name} is of {dtype}, not of {expected}")]
    Dtype { name: String, dtype: Dtype, expected: Dtype },
    #[error("{0} is empty")]
    Empty(String),
    #[error("{0} holds NaN")]
    Nan(String),
    #[error("{left} and {right} both become {name} without the wrapper's prefix")]
    OneName { left: String, right: String, name: String },
    #[error("{name} is of kind {kind:?}, which is not saved")]
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

/// The f32 tensors of a safetensors file, on the CPU; `safetensors.torch.load_file`.
///
/// # Errors
/// What is no such file, or holds tensors of other kinds, or NaN.
pub fn load(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    floats(parse(&read(path)?)?)
}

/// Writes tensors, f32 or u8, on whatever device they lie; `safetensors.torch.save_file`.
///
/// # Errors
/// A tensor of another kind, or a file that can't be written.
pub fn save(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), Error> {
    Ok(file::write(path, &serialize(tensors, |_| Ok(None))?)?)
}

/// The bytes of a file of tensors.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, file::Error> {
    file::read(path, MAX_BYTES)
}

/// The tensors in a file's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, TensorView<'_>>, Error> {
    if bytes.starts_with(b"PK") {
        return Err(Error::Pickle);
    }
    Ok(open(bytes)?.tensors().into_iter().collect())
}

/// The tensors, on the CPU: f32, none of them NaN.
pub(crate) fn floats(views: BTreeMap<String, TensorView>) -> Result<BTreeMap<String, Tensor>, Error> {
    let float = |(name, view): (String, TensorView)| {
        let (dtype, shown) = (view.dtype(), shown(&name));
        if dtype != Dtype::F32 {
            return Err(Error::Dtype { name: shown, dtype, expected: Dtype::F32 });
        }
        if view.data().is_empty() {
            return Err(Error::Empty(shown));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?;
        if bool::try_from(tensor.f_isnan()?.f_any()?)? {
            return Err(Error::Nan(shown));
        }
        Ok((name, tensor))
    };
    views.into_iter().map(float).collect()
}

/// Parses a file of any content without a panic and with no more memory than some times its header.
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

/// The first tensor whose shape and dtype don't make the bytes between its offsets, which safetensors does not name.
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

/// Digits of the longest number outside the JSON strings. safetensors 0.8 adds up the last offset and the header's
/// length unchecked, which overflows, and so panics in a debug build, for offsets near 2^64.
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

/// The text that a file, which [`open`] has accepted, holds under a key.
pub(crate) fn metadata(bytes: &[u8], key: &str) -> Result<Option<String>, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned()))
}

/// A tensor's bytes, row by row, in the machine's order, which is little-endian; on whatever device it lies.
pub(crate) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// The bytes of a file that holds `tensors`, f32 or u8, on whatever device they lie; and, under a key, what `metadata`
/// says of them, if anything.
pub(crate) fn serialize<'a>(
    tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    metadata: impl FnOnce(&BTreeMap<String, TensorView>) -> Result<Option<(&'static str, String)>, Error>,
) -> Result<Vec<u8>, Error> {
    let mut contents = vec![];
    for (name, tensor) in tensors {
        let dtype = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::Uint8 => Dtype::U8,
            kind => return Err(Error::Kind { name: name.clone(), kind }),
        };
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
