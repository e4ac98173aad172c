//! A model's weights on disk, in the safetensors format.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use tch::nn::VarStore;

use crate::file;

/// Writes every parameter under its name in Python's `state_dict()`, as f32.
pub fn save_weights(vs: &VarStore, path: &Path) -> Result<()> {
    let mut tensors = vec![];
    for (name, tensor) in vs.variables() {
        let values = Vec::<f32>::try_from(tensor.detach().flatten(0, -1))?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let shape: Vec<usize> = tensor.size().into_iter().map(|length| length as usize).collect();
        tensors.push((name, shape, bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes =
        safetensors::serialize(views, None).with_context(|| format!("cannot write {}", path.display()))?;
    file::write(path, &bytes)
}
