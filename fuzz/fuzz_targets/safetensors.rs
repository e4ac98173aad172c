//! Loads weights and checkpoints, and compares two such files.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use islp_mnist::compare::Verdict;
use islp_mnist::internals::compare_contents;
use islp_mnist::islp::SimpleModule;
use islp_mnist::lightning::{Checkpoint, CheckpointError, TrainerState};
use islp_mnist::notebook::models::Model;
use islp_mnist::notebook::weights::{self, ContentError};
use islp_mnist::torch::Generator;
use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tch::Device;
use tch::nn::VarStore;

fuzz_target!(|bytes: &[u8]| {
    let name = Path::new("x.safetensors");
    let module = weights::module(bytes, Device::Cpu);
    let checkpoint = Checkpoint::parse(name, bytes);
    let errors = [module.as_ref().err().map(ToString::to_string), checkpoint.as_ref().err().map(ToString::to_string)];
    for error in errors.into_iter().flatten() {
        assert!(!error.contains(char::is_control), "{error}");
    }
    let sealed = match &module {
        // `sealed` runs only on files that the library has parsed: others can make this parser overflow.
        Err(ContentError::Checkpoint(CheckpointError::Damaged(_))) => sealed(bytes),
        _ => None,
    };
    if let Ok(module) = module {
        let file = SafeTensors::deserialize(bytes).expect("what is accepted is valid");
        for (name, tensor) in module.vs.variables() {
            let alias = name.replacen("layer1", "_forward.0", 1).replacen("layer2", "_forward.1", 1);
            let view = file.tensor(&name).or(file.tensor(&alias)).expect("every parameter is in the file");
            let values = Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
            assert!(values.iter().all(|value| value.is_finite()));
            assert!(values.iter().flat_map(|value| value.to_le_bytes()).eq(view.data().iter().copied()));
        }
    }
    let sealed = sealed.map(|bytes| Checkpoint::parse(name, &bytes));
    for checkpoint in [Some(checkpoint), sealed].into_iter().flatten().flatten() {
        for model in Model::ALL {
            let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
            let layers = model.build(&vs.root(), &generator).unwrap();
            let mut module = SimpleModule::classification(layers, vs, 0.0).unwrap();
            let _ = checkpoint.restore(&mut module, &generator);
        }
    }
    let with_itself = compare_contents(name, bytes, bytes).unwrap();
    if with_itself.verdict() == Verdict::Identical {
        SafeTensors::deserialize(bytes).expect("what is compared is valid");
    }
    let (left, right) = bytes.split_at(bytes.len() / 2);
    for report in [with_itself, compare_contents(name, left, right).unwrap()] {
        let text = report.to_string();
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text}");
    }
});

/// The same checkpoint with a valid checksum, so that fuzzing gets past that check.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let text = header.metadata().as_ref()?.get("checkpoint")?.clone();
    // The checksum is over the hyper-parameters as they are written.
    let mut metadata: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).ok()?;
    let state: TrainerState = serde_json::from_str(metadata.get("progress")?.get()).ok()?;
    let hyper_parameters = metadata.get("hyper_parameters").or(metadata.get("run"))?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let mut sha256 = Sha256::new();
    for (name, view) in file.tensors().into_iter().collect::<BTreeMap<_, _>>() {
        sha256.update(format!("{name} {} {:?}", view.dtype(), view.shape()));
        sha256.update(view.data());
    }
    sha256.update(serde_json::to_vec(&(state, hyper_parameters)).ok()?);
    let sha256: String = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    metadata.insert("sha256".into(), serde_json::value::to_raw_value(&sha256).ok()?);
    let metadata = HashMap::from([("checkpoint".to_string(), serde_json::to_string(&metadata).ok()?)]);
    safetensors::serialize(file.tensors(), Some(metadata)).ok()
}
