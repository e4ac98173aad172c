//! Checkpoints, which carry a checksum of their content, and what lies behind it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use islp_mnist::cli::run_json::Run;
use islp_mnist::islp::module::SimpleModule;
use islp_mnist::lightning::checkpoint::{Checkpoint, Progress};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::generator::Generator;
use safetensors::tensor::Dtype;
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::Device;
use tch::nn::VarStore;

use super::common::error_of;
use super::tensors::{
    Entry, Place, bits, bits_of_module, cut_or_longer, entries, file_of, trained, values_at, wrong,
};
use super::{Random, Tries, fashion_mnist, limited, refused, replace};

/// All that a run goes on with.
type Content = (Progress, Run, Vec<u8>, BTreeMap<String, Vec<u8>>, BTreeMap<String, Vec<u8>>);

fn content(path: &Path) -> anyhow::Result<Content> {
    let checkpoint = Checkpoint::load(path)?;
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
    let model = checkpoint.run.options.model.build(&vs.root(), &generator)?;
    let mut module = SimpleModule::classification(model, vs, 0.0)?;
    checkpoint.restore(&mut module, &generator)?;
    let square_avg =
        module.optimizer.square_avg().map(|(name, tensor)| (name.to_string(), bits(tensor))).collect();
    let weights = bits_of_module(&module);
    Ok((checkpoint.progress, checkpoint.run, generator.get_state(), weights, square_avg))
}

/// A checkpoint with the checksum of its content, whatever that is.
fn sealed(entries: &[Entry], progress: &Progress, run: &Run) -> Vec<u8> {
    let mut sha256 = Sha256::new();
    for (name, dtype, shape, data) in entries {
        sha256.update(format!("{name} {dtype} {shape:?}"));
        sha256.update(data);
    }
    sha256.update(serde_json::to_vec(&(progress, run)).unwrap());
    let sha256: String = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let metadata = json!({ "progress": progress, "run": run, "sha256": sha256 }).to_string();
    file_of(entries, Some(HashMap::from([("checkpoint".into(), metadata)])))
}

#[test]
fn checkpoints_are_taken_as_they_were_written_or_refused_by_file_and_tensor() {
    let mut tries = Tries::new("Checkpoints");
    let (folder, runs) = trained();
    let place = Place(folder.path().join("checkpoint.safetensors"));
    let random = Random::new(5);
    for (run, flips) in [(&runs[0], 800), (&runs[1], 200)] {
        let bytes = fs::read(run.join("checkpoints/last.safetensors")).unwrap();
        let good = content(&run.join("checkpoints/last.safetensors")).unwrap();
        let content_of = |bytes: &[u8]| {
            replace(&place.0, bytes);
            content(&place.0)
        };
        let is_refused = |bytes: &[u8], part: &str| refused(content_of(bytes), &[&place.named(), part]);
        let is_taken_or_refused = |bytes: &[u8]| match content_of(bytes) {
            Ok(taken) if taken != good => Err("another content".into()),
            Ok(_) => Ok(()),
            error => refused(error, &[&place.named()]),
        };
        let is_taken = |bytes: &[u8]| {
            content_of(bytes).map_err(|error| format!("refused: {error:#}"))?;
            is_taken_or_refused(bytes)
        };
        tries.check("the file itself", || is_taken(&bytes));
        cut_or_longer(&mut tries, &random, &bytes, &|bytes| is_refused(bytes, ""));
        for range in [0..values_at(&bytes), values_at(&bytes)..bytes.len()] {
            for _ in 0..flips {
                let (flipped, at) = random.flip(&bytes, range.clone());
                let what = format!("byte {at} is {:#04x}", flipped[at]);
                tries.check(&what, || is_taken_or_refused(&flipped));
                tries.check(format!("{what}, for its weights"), || {
                    place.is_loaded_or_refused(&flipped, &good.3)
                });
            }
        }

        let (entries, (progress, run, ..)) = (entries(&bytes), &good);
        tries.check("the same, sealed anew", || is_taken(&sealed(&entries, progress, run)));
        let is_state = |entry: &Entry| entry.0 == "generator.state";
        for at in (0..entries.len()).filter(|&at| !is_state(&entries[at])) {
            for (what, wrong) in wrong(&entries, at) {
                let name = &entries[at].0;
                tries.check(format!("{name} is {what}"), || is_refused(&sealed(&wrong, progress, run), name));
            }
        }
        for name in ["surplus", "optimizer.square_avg.surplus", "optimizer.momentum", "generator.other", ""] {
            let mut surplus = [&entries[..], &[(name.into(), Dtype::F32, vec![1], vec![0; 4])]].concat();
            surplus.sort_by(|a, b| a.0.cmp(&b.0));
            tries
                .check(format!("{name:?} is surplus"), || is_refused(&sealed(&surplus, progress, run), name));
        }
        let at = entries.iter().position(is_state).unwrap();
        let state = |change: &dyn Fn(&mut Entry)| {
            let mut entries = entries.clone();
            change(&mut entries[at]);
            entries
        };
        let length = entries[at].3.len();
        let as_f32 = |entry: &mut Entry| (entry.1, entry.2) = (Dtype::F32, vec![length / 4]);
        let resize = |length: usize| {
            move |entry: &mut Entry| {
                entry.2 = vec![length];
                entry.3.resize(length, 0);
            }
        };
        let mut states =
            vec![state(&as_f32), state(&|entry| entry.3.fill(0)), state(&|entry| entry.3.fill(255))];
        states.extend([0, 1, length - 1, length + 1, 2 * length].map(|length| state(&resize(length))));
        for wrong in states {
            tries.check("no state", || is_refused(&sealed(&wrong, progress, run), "generator.state"));
        }
        let most = usize::MAX;
        for (epoch, global_step) in [(most, most), (most, 1), (0, 0), (1, 1), (5, 5)] {
            let lying = Progress { epoch, global_step, valid_loss: None, metrics_sha256: String::new() };
            tries.check(format!("{lying:?}"), || is_refused(&sealed(&entries, &lying, run), "damaged"));
        }
        let mut other = run.clone();
        other.options.model = if other.options.model == Model::Mlr { Model::Mlp } else { Model::Mlr };
        tries.check("the other model's run", || {
            is_refused(&sealed(&entries, progress, &other), "is no parameter of")
        });
        for text in ["", "{}", "[]", "null", "{\"progress\":", "\u{1b}"] {
            let metadata = HashMap::from([("checkpoint".to_string(), text.to_string())]);
            let file = file_of(&entries, Some(metadata));
            tries.check(format!("{text:?} as metadata"), || is_refused(&file, "not a checkpoint"));
            tries.check(format!("{text:?} as metadata, for its weights"), || {
                place.is_refused(&file, "not a checkpoint")
            });
        }
        let bare = file_of(&entries, None);
        tries.check("no metadata", || is_refused(&bare, "no checkpoint"));
        tries.check("no metadata, for its weights", || place.is_refused(&bare, "no checkpoint"));
    }
    tries.end();
}

#[test]
fn the_program_refuses_bad_weights_and_checkpoints_in_one_line_and_allocates_nothing_that_they_claim() {
    let (folder, [run, other]) = trained();
    let weights = fs::read(run.join("model.safetensors")).unwrap();
    let file = folder.path().join("bad.safetensors");
    let blamed = |bytes: &[u8]| {
        replace(&file, bytes);
        let mut command = limited();
        command.args(["test", "--checkpoint"]).arg(&file).arg("--data-dir").arg(fashion_mnist());
        let error = error_of(&mut command, 1);
        assert!(error.starts_with(&format!("error: {}: ", file.display())), "{error}");
    };
    blamed(b"");
    blamed(&[&(1u64 << 40).to_le_bytes(), &weights[8..]].concat());
    blamed(&weights[..weights.len() - 1]);
    blamed(&[&weights[..weights.len() - 4], &f32::NAN.to_le_bytes()].concat());
    let lie = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    blamed(&[&(lie.len() as u64).to_le_bytes(), lie.as_bytes(), &[0; 8]].concat());

    let last = run.join("checkpoints/last.safetensors");
    let mut resumed = limited();
    resumed.args(["train", "--epochs", "2", "--resume"]).arg(&run).arg("--data-dir").arg(fashion_mnist());
    resumed.current_dir(&folder);
    let mut flipped = fs::read(&last).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    replace(&last, &flipped);
    let damaged = format!("error: {}: damaged: it differs from what was written", last.display());
    assert_eq!(error_of(&mut resumed, 1), damaged);
    // The other model's checkpoint goes with neither this run's metrics nor its options.
    replace(&last, &fs::read(other.join("checkpoints/last.safetensors")).unwrap());
    let metrics = fs::read(run.join("metrics.csv")).unwrap();
    error_of(resumed.args(["--model", "mlr"]), 2);
    assert_eq!(fs::read(run.join("metrics.csv")).unwrap(), metrics);
}
