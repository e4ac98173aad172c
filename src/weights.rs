//! A model's weights on disk: safetensors, by the names of Python's `state_dict()`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, TensorView};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

use crate::checkpoint;
use crate::file;
use crate::generator::Generator;
use crate::model::Model;
use crate::module::SimpleModule;
use crate::shown::shown;
use crate::tensor_file;

/// The weights' file in a run's folder.
pub const FILE: &str = "model.safetensors";

/// MNISTModel's `_forward` holds `layer1` and `layer2`, so Python knows their parameters by two names each, and
/// `safetensors.torch.save_model` writes whichever it likes.
const ALIASES: [(&str, &str); 2] = [("_forward.0.", "layer1."), ("_forward.1.", "layer2.")];

/// How the tensors begin that a checkpoint holds besides the weights.
const STATES: [&str; 2] = ["optimizer.", "generator."];

/// Writes every parameter under its name in Python's `state_dict()`, as f32; `safetensors.torch.save_model`.
///
/// # Errors
/// A file that can't be written.
pub fn save(vs: &VarStore, path: &Path) -> Result<()> {
    Ok(file::write(path, &tensor_file::serialize(&vs.variables(), |_| Ok(None))?)?)
}

/// The model whose weights are in `path`, a file of weights, a checkpoint, or a run's folder with either.
///
/// # Errors
/// What is no such file, or does not hold just the parameters of one model. The message names file and tensor.
pub fn load(path: &Path, device: Device) -> Result<SimpleModule> {
    let path = find(path)?;
    let bytes = read(&path)?;
    module(&bytes, device).with_context(|| shown(&path.display().to_string()))
}

/// The model whose weights are in a file's bytes.
///
/// # Errors
/// As [`load`], but for the file's name.
pub fn module(bytes: &[u8], device: Device) -> Result<SimpleModule> {
    let mut views = parse(bytes)?;
    if views.keys().any(|name| STATES.iter().any(|state| name.starts_with(state))) {
        checkpoint::metadata(bytes, &views)?;
    }
    views.retain(|name, _| !STATES.iter().any(|state| name.starts_with(state)));
    let mut tensors = floats(views)?;
    for (name, tensor) in &tensors {
        ensure!(bool::try_from(tensor.f_isfinite()?.f_all()?)?, "{} holds an infinite value", shown(name));
    }
    rename_aliases(&mut tensors)?;
    for model in Model::ALL {
        let vs = VarStore::new(device);
        let layers = model.build(&vs.root(), &Generator::new(0))?;
        if vs.variables().keys().any(|name| tensors.contains_key(name)) {
            let module = SimpleModule::classification(layers, vs, 0.0)?;
            restore(&module, &tensors)?;
            return Ok(module);
        }
    }
    let names: Vec<_> = tensors.keys().take(3).map(|name| shown(name)).collect();
    bail!("holds no parameter of MNISTModel or MNIST_MLR; its tensors: {}", names.join(", "));
}

/// Gives the module's parameters these values.
///
/// # Errors
/// Not just the module's parameters, or not of their shapes.
pub(crate) fn restore(module: &SimpleModule, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let class_name = module.model.info().class_name;
    let mut parameters = module.vs.variables();
    for (name, tensor) in tensors {
        let parameter = parameters.get(name);
        let parameter =
            parameter.with_context(|| format!("{} is no parameter of {class_name}", shown(name)))?;
        let (size, expected) = (tensor.size(), parameter.size());
        ensure!(size == expected, "{name} is of shape {size:?}, that of {class_name} of {expected:?}");
    }
    let missing = parameters.keys().filter(|name| !tensors.contains_key(*name)).min();
    ensure!(missing.is_none(), "lacks {} of {class_name}", missing.map_or("", String::as_str));
    for (name, parameter) in &mut parameters {
        no_grad(|| parameter.f_copy_(&tensors[name]))?;
    }
    Ok(())
}

/// The file itself, or the newest weights in a run's folder.
fn find(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    // The last checkpoint is never behind the weights, which a run writes at its end.
    let last = format!("{}/{}", checkpoint::FOLDER, checkpoint::LAST);
    [&last, FILE].map(|file| path.join(file)).into_iter().find(|file| file.exists()).with_context(|| {
        let name = path.display();
        format!("{name}: neither {last} nor {FILE} in this folder; name the folder of a run, or a file")
    })
}

/// Hundreds of times as much as the larger model's checkpoint has.
const LARGEST: u64 = 1 << 30;

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let metadata = path.metadata().with_context(|| format!("cannot read {name}"))?;
    ensure!(
        metadata.is_file(),
        "{name}: not a regular file; name a .safetensors file or the folder of a run"
    );
    let length = metadata.len();
    ensure!(length <= LARGEST, "{name}: {length} bytes long, which no model's weights are");
    fs::read(path).with_context(|| format!("cannot read {name}"))
}

/// The tensors in a file's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, TensorView<'_>>> {
    ensure!(
        !bytes.starts_with(b"PK"),
        "a pickle, as torch.save and Lightning write it, which can run any program; if you trust it, \
         scripts/to_safetensors.py makes a safetensors file of it"
    );
    Ok(tensor_file::open(bytes)?.tensors().into_iter().collect())
}

/// The tensors, on the CPU: f32, none of them NaN.
pub(crate) fn floats(views: BTreeMap<String, TensorView>) -> Result<BTreeMap<String, Tensor>> {
    let float = |(name, view): (String, TensorView)| {
        let (dtype, shown) = (view.dtype(), shown(&name));
        ensure!(dtype == Dtype::F32, "{shown} is of {dtype}, weights are of F32");
        ensure!(!view.data().is_empty(), "{shown} is empty");
        let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?;
        ensure!(!bool::try_from(tensor.f_isnan()?.f_any()?)?, "{shown} holds NaN");
        Ok((name, tensor))
    };
    views.into_iter().map(float).collect()
}

fn rename_aliases(tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    for (alias, name) in ALIASES {
        let aliased: Vec<_> = tensors.keys().filter(|key| key.starts_with(alias)).cloned().collect();
        for key in aliased {
            let name = format!("{name}{}", &key[alias.len()..]);
            let Some(tensor) = tensors.remove(&key) else { continue };
            if let Some(other) = tensors.get(&name) {
                ensure!(
                    other.size() == tensor.size() && other.f_equal(&tensor)?,
                    "{} and {} are one parameter, but differ",
                    shown(&key),
                    shown(&name)
                );
            }
            tensors.insert(name, tensor);
        }
    }
    Ok(())
}
