//! The safetensors format: written from tensors, read from files of any content.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, anyhow, bail, ensure};
use safetensors::SafeTensorError::{MisalignedSlice, TensorInvalidInfo, ValidationOverflow};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorInfo, TensorView};
use serde::Deserialize;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::shown::excerpt;

/// The header of the notebook's models has 500 bytes. The parser needs many times the header's own size, and lets
/// it have 100 MB.
const LONGEST_HEADER: u64 = 1 << 20;

/// More digits than any offset into a file has.
const MOST_DIGITS: usize = 18;

/// Parses a file of any content without a panic and with no more memory than some times its header.
pub fn open(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    let mut header = &[][..];
    if let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u64::from_le_bytes(*length);
        ensure!(length <= LONGEST_HEADER, "its header claims {length} bytes, more than {LONGEST_HEADER}");
        header = &rest[..rest.len().min(length as usize)];
        ensure!(
            longest_number(header) <= MOST_DIGITS,
            "its header names an offset or a size beyond any file"
        );
    }
    SafeTensors::deserialize(bytes).map_err(|error| {
        let mut message = excerpt(format!("{error}").as_bytes(), 0);
        if let TensorInvalidInfo | ValidationOverflow | MisalignedSlice = error
            && let Some(name) = contradictory(header)
        {
            message = format!("{}: {message}", excerpt(name.as_bytes(), 0));
        }
        anyhow!("not a valid safetensors file: {message}")
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

/// The text that a file, which [`open`] has accepted, holds under a key.
pub fn metadata(bytes: &[u8], key: &str) -> Result<Option<String>> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned()))
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

/// The bytes of a file that holds `tensors`, f32 or u8, on whatever device they lie; and, under a key, what `metadata`
/// says of them, if anything.
pub fn serialize<'a>(
    tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    metadata: impl FnOnce(&BTreeMap<String, TensorView>) -> Result<Option<(&'static str, String)>>,
) -> Result<Vec<u8>> {
    let mut contents = vec![];
    for (name, tensor) in tensors {
        let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().into_iter().map(|length| length as usize).collect();
        let dtype = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::Uint8 => Dtype::U8,
            kind => bail!("{name} is of kind {kind:?}, which is not saved"),
        };
        contents.push((name, dtype, shape, bytes));
    }
    let views = contents.iter().map(|(name, dtype, shape, bytes)| {
        Ok(((*name).clone(), TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<BTreeMap<_, _>>>()?;
    let metadata = metadata(&views)?.map(|(key, text)| HashMap::from([(key.to_string(), text)]));
    Ok(safetensors::serialize(views, metadata)?)
}
