//! What a checkpoint says besides its tensors, as JSON in the file's metadata.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use super::TrainerState;
use crate::lightning::error::CheckpointError;
use crate::torch::state_dict;
use crate::util::text::{hex, shown};

/// The name that it goes by there.
pub const KEY: &str = "checkpoint";

/// Its fields. The names are those of version 0.1 too, but for `run`.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    /// The version that wrote it.
    #[serde(default = "first_version")]
    islp_mnist: String,
    /// A [`TrainerState`], as it was written: the checksum is over its text, and Python writes numbers otherwise.
    progress: Box<RawValue>,
    /// As it was written too.
    #[serde(alias = "run")]
    hyper_parameters: Box<RawValue>,
    /// Of everything else in the file, see [`digest`].
    sha256: String,
}

/// The one that did not say so.
fn first_version() -> String {
    "0.1".into()
}

/// What a checkpoint says besides its `tensors`, both as they were written.
///
/// # Errors
/// None, or of another version, or not those of the tensors.
pub fn read(
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
        return Err(CheckpointError::Damaged("it differs from what was written".into()));
    }
    let TrainerState { epoch, global_step, .. } = state;
    if epoch >= global_step {
        let reason = format!("epoch {epoch} cannot end with step {global_step}");
        return Err(CheckpointError::Damaged(reason));
    }
    Ok((state, hyper_parameters))
}

/// What a checkpoint is to say besides its `tensors`.
///
/// # Errors
/// None that the types allow for.
pub fn write(
    tensors: &BTreeMap<String, TensorView>,
    state: &TrainerState,
    hyper_parameters: &RawValue,
) -> serde_json::Result<String> {
    let progress = to_raw_value(state)?;
    let sha256 = digest(tensors, &progress, hyper_parameters);
    let (islp_mnist, hyper_parameters) = (env!("CARGO_PKG_VERSION").into(), hyper_parameters.to_owned());
    serde_json::to_string(&Metadata { islp_mnist, progress, hyper_parameters, sha256 })
}

/// Why the metadata are none that this version writes.
fn not_readable(text: &str) -> CheckpointError {
    let fields: Value = serde_json::from_str(text).unwrap_or_default();
    match fields["islp_mnist"].as_str() {
        Some(version) if version != env!("CARGO_PKG_VERSION") => CheckpointError::Version(shown(version)),
        _ => CheckpointError::Damaged("its metadata are not a checkpoint's".into()),
    }
}

/// SHA-256 of the tensors in the order of their names and of what else the metadata say, in hexadecimal.
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
