//! Checkpoints, which contain a checksum, and what only further checks find. The same applies to Python's reader,
//! load_checkpoint of python/islp_mnist/checkpoint/reading.py, and to the checkpoints that Python writes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use islp_mnist::islp::SimpleModule;
use islp_mnist::lightning;
use islp_mnist::lightning::{BatchProgress, Checkpoint, TrainerState};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};
use tch::Device;
use tch::nn::VarStore;

use super::tensors::{
    Entry, Runs, Weights, are_loaded_or_refused, are_refused, bits, bits_of_module, cut_or_longer, entries,
    file_of, trained, values_at, wrong,
};
use super::{Random, Tries, Verdict, all, limited, refused, replace, sample};
use crate::common::{assert_refused, fashion_mnist, python, stdout_of};

/// All that a run resumes from: the trainer's state, the hyper-parameters, the generator's state, the weights and their
/// square averages.
type Content = (TrainerState, String, Vec<u8>, Weights, Weights);

fn content(bytes: &[u8], model: Model) -> Result<Content, lightning::Error> {
    let checkpoint = Checkpoint::parse(Path::new("c.safetensors"), bytes)?;
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
    let layers = model.build(&vs.root(), &generator)?;
    let mut module = SimpleModule::classification(layers, vs, 0.0)?;
    checkpoint.restore(&mut module, &generator)?;
    let (parameters, states) = (module.optimizer.parameters(), module.optimizer.states());
    let square_avg = parameters.iter().zip(&states[0].1);
    let square_avg = square_avg.map(|((name, _), tensor)| (name.to_string(), bits(tensor))).collect();
    let hyper_parameters = checkpoint.hyper_parameters.get().to_string();
    Ok((checkpoint.state, hyper_parameters, generator.get_state(), bits_of_module(&module), square_avg))
}

/// Reads a checkpoint for a model: what a run resumes from, as a text that differs where that does, or why it is refused.
type Reader<'a> = dyn FnMut(&[u8], Model) -> Result<String, String> + 'a;

fn read_here(bytes: &[u8], model: Model) -> Result<String, String> {
    let (state, hyper_parameters, generator, weights, square_avg) =
        content(bytes, model).map_err(|error| error.to_string())?;
    let mut sha256 = Sha256::new_with_prefix(generator);
    weights.values().chain(square_avg.values()).for_each(|bytes| sha256.update(bytes));
    Ok(format!("{state:?} {hyper_parameters} {:x?}", sha256.finalize()))
}

fn is_refused(read: &mut Reader, bytes: &[u8], model: Model, part: &str) -> Verdict {
    refused(read(bytes, model), &["c.safetensors: ", part])
}

fn is_taken_or_refused(read: &mut Reader, bytes: &[u8], model: Model, good: &str) -> Verdict {
    match read(bytes, model) {
        Ok(taken) if taken != good => Err(format!("another content: {taken}")),
        Ok(_) => Ok(()),
        error => refused(error, &["c.safetensors: "]),
    }
}

fn is_taken(read: &mut Reader, bytes: &[u8], model: Model, good: &str) -> Verdict {
    read(bytes, model).map_err(|error| format!("refused: {error}"))?;
    is_taken_or_refused(read, bytes, model, good)
}

/// A checkpoint with the checksum of its content, whatever that is. The hyper-parameters are the text as it was written.
fn sealed(entries: &[Entry], state: &TrainerState, hyper_parameters: &str) -> Vec<u8> {
    let mut sha256 = Sha256::new();
    for (name, dtype, shape, data) in entries {
        sha256.update(format!("{name} {dtype} {shape:?}"));
        sha256.update(data);
    }
    let state = serde_json::to_string(state).unwrap();
    sha256.update(format!("[{state},{hyper_parameters}]"));
    let sha256: String = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let metadata =
        format!(r#"{{"progress":{state},"hyper_parameters":{hyper_parameters},"sha256":"{sha256}"}}"#);
    file_of(entries, Some(HashMap::from([("checkpoint".into(), metadata)])))
}

#[test]
fn checkpoints_are_taken_as_they_were_written_or_refused_by_file_and_tensor() {
    sample(53, take_ours_as_written_or_refuse);
}

#[test]
#[ignore = "slow"]
fn all_checkpoints_are_taken_as_they_were_written_or_refused_by_file_and_tensor() {
    all("Checkpoints", take_ours_as_written_or_refuse);
}

#[test]
#[ignore = "needs the Python reference"]
fn checkpoints_from_python_and_for_python_are_taken_as_they_were_written_or_refused() {
    let (folder, runs) = trained();
    let mut python_runs = runs.clone();
    for (model, run) in &mut python_runs {
        let mut train = python("scripts/train.py");
        train.current_dir(&folder).args(["--epochs", "1", "--num-workers", "0", "--name", "python"]);
        train.args(["--model", model.name(), "--data-dir"]).arg(fashion_mnist());
        *run = folder.path().join(stdout_of(&mut train).trim_end());
    }
    let mut reader = python("tests/read_checkpoints.py");
    let mut reader =
        reader.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(reader.stdout.take().unwrap()).lines();
    let mut read_in_python = |bytes: &[u8], model: Model| {
        replace(&folder.path().join("c.safetensors"), bytes);
        writeln!(reader.stdin.as_mut().unwrap(), "{model}").unwrap();
        let answer = answers.next().expect("it still reads").unwrap();
        serde_json::from_str::<Result<String, String>>(&answer).unwrap()
    };
    sample(29, |tries| {
        take_as_written_or_refuse(tries, &python_runs, &mut read_here);
        take_as_written_or_refuse(tries, &python_runs, &mut read_in_python);
        take_as_written_or_refuse(tries, &runs, &mut read_in_python);
    });
    drop(reader.stdin.take());
    assert!(reader.wait().unwrap().success());
}

fn take_ours_as_written_or_refuse(tries: &mut Tries) {
    let (_folder, runs) = trained();
    take_as_written_or_refuse(tries, &runs, &mut read_here);
}

fn take_as_written_or_refuse(tries: &mut Tries, runs: &Runs, read: &mut Reader) {
    let random = Random::new(5);
    for ((model, run), flips) in runs.iter().zip([800, 200]) {
        let model = *model;
        let bytes = fs::read(run.join("checkpoints/last.safetensors")).unwrap();
        let (content, good) = (content(&bytes, model).unwrap(), read(&bytes, model).unwrap());
        tries.check("the file itself", || is_taken(read, &bytes, model, &good));
        cut_or_longer(tries, &random, &bytes, &mut |bytes| is_refused(read, bytes, model, ""));
        for range in [0..values_at(&bytes), values_at(&bytes)..bytes.len()] {
            for _ in 0..flips {
                let (flipped, at) = random.flip(&bytes, range.clone());
                let what = format!("byte {at} is {:#04x}", flipped[at]);
                tries.check(&what, || is_taken_or_refused(read, &flipped, model, &good));
                tries.check(format!("{what}, for its weights"), || {
                    are_loaded_or_refused(&flipped, &content.3)
                });
            }
        }
        sealed_anew(tries, &entries(&bytes), model, &content, &good, read);
        states(tries, &entries(&bytes), model, &content, read);
        metadata(tries, &entries(&bytes), model, read);
    }
}

/// Behind the checksum: other tensors, and of another model.
fn sealed_anew(
    tries: &mut Tries,
    entries: &[Entry],
    model: Model,
    content: &Content,
    good: &str,
    read: &mut Reader,
) {
    let (state, hyper_parameters) = (&content.0, &content.1);
    let sealed = |entries: &[Entry]| sealed(entries, state, hyper_parameters);
    tries.check("the same, sealed anew", || is_taken(read, &sealed(entries), model, good));
    for at in (0..entries.len()).filter(|&at| !is_generator(&entries[at])) {
        for (what, wrong) in wrong(entries, at) {
            let name = &entries[at].0;
            tries.check(format!("{name} is {what}"), || is_refused(read, &sealed(&wrong), model, name));
        }
    }
    for name in ["surplus", "optimizer.square_avg.surplus", "optimizer.momentum", "generator.other", ""] {
        let mut surplus = [entries, &[(name.into(), Dtype::F32, vec![1], vec![0; 4])]].concat();
        surplus.sort_by(|a, b| a.0.cmp(&b.0));
        tries.check(format!("{name:?} is surplus"), || is_refused(read, &sealed(&surplus), model, name));
    }
    let other = if model == Model::Mlr { Model::Mlp } else { Model::Mlr };
    tries.check("for the other model", || is_refused(read, &sealed(entries), other, "is not a parameter of"));
}

fn is_generator(entry: &Entry) -> bool {
    entry.0 == "generator.state"
}

/// Behind the checksum: invalid states of generator and trainer.
fn states(tries: &mut Tries, entries: &[Entry], model: Model, good: &Content, read: &mut Reader) {
    let at = entries.iter().position(is_generator).unwrap();
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut entries = entries.to_vec();
        change(&mut entries[at]);
        sealed(&entries, &good.0, &good.1)
    };
    let length = entries[at].3.len();
    let mut wrong = vec![
        with(&|entry| (entry.1, entry.2) = (Dtype::F32, vec![length / 4])),
        with(&|entry| entry.3.fill(0)),
        with(&|entry| entry.3.fill(255)),
    ];
    wrong.extend([0, 1, length - 1, length + 1, 2 * length].map(|length| {
        with(&|entry| {
            entry.2 = vec![length];
            entry.3.resize(length, 0);
        })
    }));
    for file in wrong {
        tries.check("no state of a generator", || is_refused(read, &file, model, "generator.state"));
    }
    let most = usize::MAX;
    for (epoch, global_step) in [(most, most), (most, 1), (0, 0), (1, 1), (5, 5)] {
        let lying = TrainerState { epoch, global_step, ..TrainerState::default() };
        let file = sealed(entries, &lying, &good.1);
        tries.check(format!("{lying:?}"), || is_refused(read, &file, model, "damaged"));
    }
    for (epoch, global_step, completed) in [(0, 1, 0), (0, 1, 2), (0, 1, most), (7, 9, 3)] {
        let progress = BatchProgress { completed, sampler_seed: Some(u64::MAX), results: BTreeMap::new() };
        let lying =
            TrainerState { epoch, global_step, batch_progress: Some(progress), ..TrainerState::default() };
        let file = sealed(entries, &lying, &good.1);
        tries.check(format!("{lying:?}"), || is_refused(read, &file, model, "damaged"));
    }
}

fn metadata(tries: &mut Tries, entries: &[Entry], model: Model, read: &mut Reader) {
    for text in ["", "{}", "[]", "null", "{\"progress\":", "\u{1b}"] {
        let file = file_of(entries, Some(HashMap::from([("checkpoint".to_string(), text.to_string())])));
        tries.check(format!("{text:?} as metadata"), || is_refused(read, &file, model, "not a checkpoint"));
        tries.check(format!("{text:?} as metadata, for its weights"), || {
            are_refused(&file, "not a checkpoint")
        });
    }
    let bare = file_of(entries, None);
    tries.check("no metadata", || is_refused(read, &bare, model, "no checkpoint"));
    tries.check("no metadata, for its weights", || are_refused(&bare, "no checkpoint"));
}

#[test]
fn the_program_refuses_bad_weights_and_checkpoints_in_one_line_and_allocates_nothing_that_they_claim() {
    let (folder, [(_, run), (_, other)]) = trained();
    let weights = fs::read(run.join("model.safetensors")).unwrap();
    let file = folder.path().join("bad.safetensors");
    let lie = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    for bytes in [
        [&(1u64 << 40).to_le_bytes(), &weights[8..]].concat(),
        [&weights[..weights.len() - 4], &f32::NAN.to_le_bytes()].concat(),
        [&(lie.len() as u64).to_le_bytes(), lie.as_bytes(), &[0; 8]].concat(),
    ] {
        replace(&file, &bytes);
        let mut command = limited(folder.path(), "test --checkpoint bad.safetensors --data-dir");
        assert_refused(command.arg(fashion_mnist()), 1, &["error: bad.safetensors: "]);
    }

    let resume = |last: &[u8], options: &str, code: i32, name: &str| {
        replace(&run.join("checkpoints/last.safetensors"), last);
        let options = format!("train --resume MNIST_MLR/version_0 --epochs 2 {options} --data-dir");
        assert_refused(limited(folder.path(), &options).arg(fashion_mnist()), code, &[name]);
    };
    let mut flipped = fs::read(run.join("checkpoints/last.safetensors")).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    let metrics = fs::read(run.join("metrics.csv")).unwrap();
    let last = "error: MNIST_MLR/version_0/checkpoints/last.safetensors: ";
    resume(&flipped, "", 1, last);
    resume(&weights, "", 1, last);
    // The other model's checkpoint goes with neither this run's metrics nor its options.
    let of_other = fs::read(other.join("checkpoints/last.safetensors")).unwrap();
    resume(&of_other, "", 1, "MNIST_MLR/version_0/metrics.csv: ");
    resume(&of_other, "--model mlr", 2, "--model mlr");
    assert_eq!(fs::read(run.join("metrics.csv")).unwrap(), metrics);
}
