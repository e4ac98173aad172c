//! What the tests of weights and of checkpoints share: real files, and how to spoil them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use islp_mnist::islp::SimpleModule;
use islp_mnist::notebook::models::Model;
use islp_mnist::notebook::weights;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use tch::{Device, Tensor};
use tempfile::{TempDir, tempdir};

use super::{Random, Tries, Verdict, refused};
use crate::common::{fashion_mnist, program};

/// A folder for each model, logistic regression first.
pub type Runs = [(Model, PathBuf); 2];

/// Trains one epoch of both models, and gives their folders; they vanish with the first value.
pub fn trained() -> (TempDir, Runs) {
    let folder = tempdir().unwrap();
    let runs = [Model::Mlr, Model::Mlp].map(|model| {
        let mut command =
            program(&folder, &format!("train --epochs 1 --model {model} --output-dir . --data-dir"));
        command.arg(fashion_mnist()).assert().success();
        (model, folder.path().join(model.run_name()).join("version_0"))
    });
    (folder, runs)
}

/// One tensor of a file: name, dtype, shape, bytes.
pub type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

pub fn entries(bytes: &[u8]) -> Vec<Entry> {
    let views = SafeTensors::deserialize(bytes).unwrap().tensors();
    let mut entries: Vec<_> = views
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

pub fn file_of(entries: &[Entry], metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let views = entries
        .iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize(views.collect::<Vec<_>>(), metadata).unwrap()
}

pub fn values_at(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

pub fn bits(tensor: &Tensor) -> Vec<u8> {
    let values = Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

pub fn bits_of_module(module: &SimpleModule) -> Weights {
    module.vs.variables().iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

/// The weights in a file, without everything else in it.
pub fn bits_of_file(bytes: &[u8]) -> Weights {
    let is_weight = |name: &str| !name.starts_with("optimizer.") && !name.starts_with("generator.");
    entries(bytes)
        .into_iter()
        .filter(|entry| is_weight(&entry.0))
        .map(|(name, _, _, data)| (name, data))
        .collect()
}

pub type Weights = BTreeMap<String, Vec<u8>>;

/// Right if these bytes are refused with that said.
pub fn are_refused(bytes: &[u8], part: &str) -> Verdict {
    refused(weights::module(bytes, Device::Cpu), &[part])
}

/// Right if a module has just these weights.
pub fn are_loaded(bytes: &[u8], expected: &Weights) -> Verdict {
    let module = weights::module(bytes, Device::Cpu).map_err(|error| format!("refused: {error}"))?;
    if bits_of_module(&module) == *expected { Ok(()) } else { Err("other weights".into()) }
}

pub fn are_loaded_or_refused(bytes: &[u8], expected: &Weights) -> Verdict {
    match weights::module(bytes, Device::Cpu) {
        Ok(module) if bits_of_module(&module) != *expected => Err("other weights".into()),
        Ok(_) => Ok(()),
        error => refused(error, &[]),
    }
}

pub fn cut_or_longer(
    tries: &mut Tries,
    random: &Random,
    bytes: &[u8],
    is_refused: &mut dyn FnMut(&[u8]) -> Verdict,
) {
    let header = (0..200).map(|_| random.below(values_at(bytes)));
    let anywhere = (0..200).map(|_| random.below(bytes.len()));
    for length in (0..=8).chain(header).chain(anywhere).chain([bytes.len() - 1]) {
        tries.check(format!("cut to {length} bytes"), || is_refused(&bytes[..length]));
    }
    for surplus in [1, 4, 8, 1000] {
        tries.check(format!("{surplus} bytes more"), || is_refused(&[bytes, &vec![0; surplus]].concat()));
    }
    let header = values_at(bytes) as u64 - 8;
    let (most, length) = (u64::MAX, bytes.len() as u64);
    let lies =
        [0, 1, header - 1, header + 1, header * 2, length - 8, length - 7, length, 1 << 20, 1 << 30, 1 << 40];
    for lie in
        lies.into_iter().chain([u32::MAX.into(), 1 << 63, most / 2, most - 8, most - 7, most - 6, most])
    {
        tries.check(format!("a header of {lie} bytes"), || {
            is_refused(&[&lie.to_le_bytes(), &bytes[8..]].concat())
        });
    }
}

/// All ways for a tensor to be wrong, and the file's tensors with it.
pub fn wrong(entries: &[Entry], at: usize) -> Vec<(&'static str, Vec<Entry>)> {
    let (name, _, shape, data) = &entries[at];
    let with = |dtype: Dtype, shape: Vec<usize>, length: usize| {
        let mut entries = entries.to_vec();
        let bytes = data.iter().copied().cycle().take(length).collect();
        entries[at] = (name.clone(), dtype, shape, bytes);
        entries
    };
    let (count, length) = (shape.iter().product::<usize>(), data.len());
    let first = shape[0];
    let row = length / first;
    let resized = |rows: usize| [&[rows], &shape[1..]].concat();
    let mut wrong = vec![
        ("one row more", with(Dtype::F32, resized(first + 1), length + row)),
        ("one row less", with(Dtype::F32, resized(first - 1), length - row)),
        ("no row", with(Dtype::F32, resized(0), 0)),
        ("another dimension", with(Dtype::F32, [&[1], &shape[..]].concat(), length)),
        ("a scalar", with(Dtype::F32, vec![], 4)),
        ("F64", with(Dtype::F64, shape.clone(), 2 * length)),
        ("F16", with(Dtype::F16, shape.clone(), length / 2)),
        ("BF16", with(Dtype::BF16, shape.clone(), length / 2)),
        ("I32", with(Dtype::I32, shape.clone(), length)),
        ("I64", with(Dtype::I64, shape.clone(), 2 * length)),
        ("U8", with(Dtype::U8, shape.clone(), count)),
        ("BOOL", with(Dtype::BOOL, shape.clone(), count)),
    ];
    if shape.len() > 1 {
        wrong.push(("flat", with(Dtype::F32, vec![count], length)));
        wrong.push(("transposed", with(Dtype::F32, shape.iter().rev().copied().collect(), length)));
    }
    let mut missing = entries.to_vec();
    missing.remove(at);
    wrong.push(("missing", missing));
    wrong.extend(not_numbers(entries, at));
    wrong
}

fn not_numbers(entries: &[Entry], at: usize) -> Vec<(&'static str, Vec<Entry>)> {
    let last = entries[at].3.len() - 4;
    let mut wrong = vec![];
    for place in [0, last / 8 * 4, last] {
        for nan in [0x7fc0_0000u32, 0x7f80_0001, 0xffc0_0000, 0x7fff_ffff] {
            let mut entries = entries.to_vec();
            entries[at].3[place..place + 4].copy_from_slice(&nan.to_le_bytes());
            wrong.push(("NaN", entries));
        }
    }
    wrong
}
