//! Weights and checkpoints, and the comparison of two such files.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use islp_mnist::lightning::checkpoint::{Checkpoint, Progress};
use islp_mnist::compare::{Verdict, compare_contents};
use islp_mnist::torch::generator::Generator;
use islp_mnist::islp::module::SimpleModule;
use islp_mnist::cli::run_json::Run;
use islp_mnist::notebook::weights;
use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tch::Device;
use tch::nn::VarStore;

fuzz_target!(|bytes: &[u8]| {
    let name = Path::new("x.safetensors");
    let module = weights::module(bytes, Device::Cpu);
    let checkpoint = Checkpoint::parse(name, bytes);
    for error in [module.as_ref().err(), checkpoint.as_ref().err()].into_iter().flatten() {
        assert!(!format!("{error:#}").contains(char::is_control), "{error:#}");
    }
    if let Ok(module) = module {
        let file = SafeTensors::deserialize(bytes).expect("what is accepted is valid");
        for (name, tensor) in module.vs.variables() {
            let alias = name.replacen("layer1", "_forward.0", 1).replacen("layer2", "_forward.1", 1);
            let view = file.tensor(&name).or(file.tensor(&alias)).expect("no parameter is made up");
            let values = Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
            assert!(values.iter().all(|value| !value.is_nan()));
            assert!(values.iter().flat_map(|value| value.to_le_bytes()).eq(view.data().iter().copied()));
        }
    }
    let sealed = sealed(bytes).map(|bytes| Checkpoint::parse(name, &bytes));
    for checkpoint in [Some(checkpoint), sealed].into_iter().flatten().flatten() {
        let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
        let layers = checkpoint.run.options.model.build(&vs.root(), &generator).unwrap();
        let mut module = SimpleModule::classification(layers, vs, 0.0).unwrap();
        let _ = checkpoint.restore(&mut module, &generator);
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

/// The same checkpoint with the checksum of what it holds: behind the checksum there is more to break.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    // The library refuses first what makes this parser overflow.
    weights::module(bytes, Device::Cpu).err().filter(|error| error.to_string().contains("damaged"))?;
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let mut metadata: Value = serde_json::from_str(header.metadata().as_ref()?.get("checkpoint")?).ok()?;
    let progress: Progress = serde_json::from_value(metadata["progress"].clone()).ok()?;
    let run: Run = serde_json::from_value(metadata["run"].clone()).ok()?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let mut sha256 = Sha256::new();
    for (name, view) in file.tensors().into_iter().collect::<BTreeMap<_, _>>() {
        sha256.update(format!("{name} {} {:?}", view.dtype(), view.shape()));
        sha256.update(view.data());
    }
    sha256.update(serde_json::to_vec(&(progress, run)).ok()?);
    let sha256: String = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    metadata["sha256"] = sha256.into();
    let metadata = HashMap::from([("checkpoint".to_string(), metadata.to_string())]);
    safetensors::serialize(file.tensors(), Some(metadata)).ok()
}
