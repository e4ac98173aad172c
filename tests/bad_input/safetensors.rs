//! Weights and checkpoints. A byte changed in the values of a file of weights leaves other weights, which nothing can
//! tell from those that were meant; a checkpoint carries a checksum of its content.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use islp_mnist::checkpoint::{Checkpoint, Progress};
use islp_mnist::generator::Generator;
use islp_mnist::model::Model;
use islp_mnist::module::SimpleModule;
use islp_mnist::run::Run;
use islp_mnist::weights;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Device, Tensor};
use tempfile::{TempDir, tempdir};

use super::common::{error_of, islp_mnist, stdout_of};
use super::{
    NO_FILES, Random, Tries, Verdict, fashion_mnist, gzipped, limited, put_no_file, refused, replace,
};

/// What a file may call the weights of each model.
const RUNS: [(&str, &str); 2] = [("mlr", "MNIST_MLR"), ("mlp", "MNIST")];

/// Trains one epoch of both models and gives their folders; they vanish with the first value.
fn trained() -> (TempDir, [PathBuf; 2]) {
    let folder = tempdir().unwrap();
    let runs = RUNS.map(|(model, name)| {
        let mut command = islp_mnist();
        command.args(["train", "--epochs", "1", "--model", model, "--data-dir"]).arg(fashion_mnist());
        stdout_of(command.arg("--output-dir").arg(folder.path()).env("OMP_NUM_THREADS", "1"));
        folder.path().join(name).join("version_0")
    });
    (folder, runs)
}

/// One tensor of a file: name, dtype, shape, bytes.
type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

fn entries(bytes: &[u8]) -> Vec<Entry> {
    let views = SafeTensors::deserialize(bytes).unwrap().tensors();
    let mut entries: Vec<_> = views
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

fn file_of(entries: &[Entry], metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let views = entries
        .iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize(views.collect::<Vec<_>>(), metadata).unwrap()
}

fn values_at(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

fn bits(tensor: &Tensor) -> Vec<u8> {
    let values = Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn bits_of_module(module: &SimpleModule) -> BTreeMap<String, Vec<u8>> {
    module.vs.variables().iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

/// The weights that a file holds, past whatever else is in it.
fn bits_of_file(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let is_weight = |name: &str| !name.starts_with("optimizer.") && !name.starts_with("generator.");
    entries(bytes)
        .into_iter()
        .filter(|entry| is_weight(&entry.0))
        .map(|(name, _, _, data)| (name, data))
        .collect()
}

/// Puts bytes in a file's place, and the file in the place of the bytes.
struct Place(PathBuf);

impl Place {
    fn named(&self) -> String {
        format!("{}: ", self.0.display())
    }

    fn load(&self, bytes: &[u8]) -> anyhow::Result<SimpleModule> {
        replace(&self.0, bytes);
        weights::load(&self.0, Device::Cpu)
    }

    fn is_refused(&self, bytes: &[u8], part: &str) -> Verdict {
        refused(self.load(bytes), &[&self.named(), part])
    }

    fn is_loaded(&self, bytes: &[u8], expected: &BTreeMap<String, Vec<u8>>) -> Verdict {
        let module = self.load(bytes).map_err(|error| format!("refused: {error:#}"))?;
        if bits_of_module(&module) == *expected { Ok(()) } else { Err("other weights".into()) }
    }

    fn is_loaded_or_refused(&self, bytes: &[u8], expected: &BTreeMap<String, Vec<u8>>) -> Verdict {
        match self.load(bytes) {
            Ok(module) if bits_of_module(&module) != *expected => Err("other weights".into()),
            Ok(_) => Ok(()),
            error => refused(error, &[&self.named()]),
        }
    }
}

fn cut_or_longer(tries: &mut Tries, random: &Random, bytes: &[u8], is_refused: &dyn Fn(&[u8]) -> Verdict) {
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

/// The tensor's whole range of ways to be wrong: what it is called, and the file's tensors with it.
fn wrong(entries: &[Entry], at: usize) -> Vec<(&'static str, Vec<Entry>)> {
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

#[test]
fn weights_are_loaded_as_they_are_or_refused_by_file_and_tensor() {
    let mut tries = Tries::new("Weights");
    let (folder, runs) = trained();
    let place = Place(folder.path().join("weights.safetensors"));
    let files = runs.map(|run| fs::read(run.join("model.safetensors")).unwrap());
    let random = Random::new(4);
    for (bytes, other, flips) in [(&files[0], &files[1], 750), (&files[1], &files[0], 250)] {
        let (good, others) = (entries(bytes), entries(other));
        tries.check("the file itself", || place.is_loaded(bytes, &bits_of_file(bytes)));
        cut_or_longer(&mut tries, &random, bytes, &|bytes| place.is_refused(bytes, ""));
        let values = values_at(bytes);
        for (range, flips) in [(0..values, flips), (values..bytes.len(), flips)] {
            flipped_weights(&mut tries, &random, &place, bytes, range, flips);
        }
        for at in 0..good.len() {
            for (what, entries) in wrong(&good, at) {
                let name = &good[at].0;
                tries.check(format!("{name} is {what}"), || place.is_refused(&file_of(&entries, None), name));
            }
        }
        for name in ["surplus", "", "x\n\u{1b}[31m", "layer1.1", "linear.1.weights", "ä", &"n".repeat(10_000)]
        {
            let surplus = [&good[..], &[(name.into(), Dtype::F32, vec![1], vec![0; 4])]].concat();
            tries.check(format!("{name:?} is surplus"), || {
                place.is_refused(&file_of(&surplus, None), "is no parameter of")
            });
        }
        let both = [&good[..], &others].concat();
        tries.check("both models", || {
            place.is_refused(&file_of(&both, None), "is no parameter of MNISTModel")
        });
        let mut others = others;
        for (entry, (name, ..)) in others.iter_mut().zip(&good) {
            entry.0.clone_from(name);
        }
        tries.check("the other model's under these names", || place.is_refused(&file_of(&others, None), ""));
        other_headers(&mut tries, &place, bytes);
    }
    not_weights(&mut tries, &place, &files[0]);
    tries.end();
}

fn flipped_weights(
    tries: &mut Tries,
    random: &Random,
    place: &Place,
    bytes: &[u8],
    range: Range<usize>,
    flips: usize,
) {
    let values = values_at(bytes);
    for _ in 0..flips {
        let (flipped, at) = random.flip(bytes, range.clone());
        tries.check(format!("byte {at} is {:#04x}", flipped[at]), || {
            if at < values {
                // White space in the header's padding may be other white space.
                return place.is_loaded_or_refused(&flipped, &bits_of_file(bytes));
            }
            let start = values + (at - values) / 4 * 4;
            if !f32::from_le_bytes(flipped[start..start + 4].try_into().unwrap()).is_nan() {
                return place.is_loaded(&flipped, &bits_of_file(&flipped));
            }
            let tensors = SafeTensors::deserialize(bytes).unwrap().tensors();
            let holds = |view: &TensorView| view.data().as_ptr_range().contains(&bytes[start..].as_ptr());
            let (name, _) = tensors.iter().find(|(_, view)| holds(view)).unwrap();
            place.is_refused(&flipped, &format!("{name} holds NaN"))
        });
    }
}

/// Headers rewritten by hand around the same values.
fn other_headers(tries: &mut Tries, place: &Place, bytes: &[u8]) {
    let values = &bytes[values_at(bytes)..];
    let header = std::str::from_utf8(&bytes[8..values_at(bytes)]).unwrap();
    let with = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat();
    for padding in [" ", "\n\n", "\t \r\n"] {
        let spaced = with(&format!("{}{padding}", header.trim_end()));
        tries.check("other white space", || place.is_loaded(&spaced, &bits_of_file(bytes)));
    }
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(header).unwrap();
    for name in fields.keys() {
        let offsets = &fields[name]["data_offsets"];
        let (start, end) = (offsets[0].as_u64().unwrap(), offsets[1].as_u64().unwrap());
        let most = u64::MAX;
        let lies = [
            [start, end + 4],
            [start, end - 4],
            [start + 4, end],
            [end, start],
            [start, start],
            [0, most],
            [most, most],
        ];
        for lie in lies.into_iter().chain([[start, most - 7], [1 << 63, (1 << 63) + 4]]) {
            let mut fields = fields.clone();
            fields[name]["data_offsets"] = json!(lie);
            let lying = with(&serde_json::to_string(&fields).unwrap());
            tries.check(format!("{name} from {} to {}", lie[0], lie[1]), || place.is_refused(&lying, ""));
        }
        for lie in [
            json!([u64::MAX, u64::MAX]),
            json!([1u64 << 62, 8]),
            json!([3]),
            json!([-1]),
            json!([0.5]),
            json!("10"),
            json!({}),
        ] {
            let mut fields = fields.clone();
            fields[name]["shape"] = lie;
            let lying = with(&serde_json::to_string(&fields).unwrap());
            tries
                .check(format!("{name} of shape {}", fields[name]["shape"]), || place.is_refused(&lying, ""));
        }
        for lie in ["F16", "F64", "I8", "F4", "F33", "", "pickle"] {
            let mut fields = fields.clone();
            fields[name]["dtype"] = json!(lie);
            let lying = with(&serde_json::to_string(&fields).unwrap());
            // An unknown dtype is no JSON of the format; a known one contradicts the offsets.
            let named = if ["F16", "F64", "I8", "F4"].contains(&lie) { name } else { "unknown variant" };
            tries.check(format!("{name} of {lie:?}"), || place.is_refused(&lying, named));
        }
    }
}

fn not_weights(tries: &mut Tries, place: &Place, bytes: &[u8]) {
    // What Python would run at loading: os.system('touch PWNED').
    let pwned = place.0.with_file_name("PWNED");
    let pickle = format!("cposix\nsystem\n(S'touch {}'\ntR.", pwned.display());
    for (what, content, part) in [
        ("a pickle", pickle.as_bytes().to_vec(), ""),
        ("a pickle of protocol 2", [b"\x80\x02", pickle.as_bytes()].concat(), ""),
        ("a zip, as torch.save writes it", [b"PK\x03\x04", pickle.as_bytes()].concat(), "a pickle"),
        ("HDF5", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\0\0\0".to_vec(), ""),
        ("JSON", b"{\"linear.1.bias\": [0, 1, 2]}".to_vec(), ""),
        ("zeros", vec![0; 10_000], ""),
        ("an empty header", [&2u64.to_le_bytes()[..], b"{}"].concat(), "holds no parameter"),
        ("deep JSON", [&100_000u64.to_le_bytes()[..], &[b'['; 100_000]].concat(), ""),
    ] {
        tries.check(what, || place.is_refused(&content, part));
    }
    replace(&place.0, bytes);
    let packed = gzipped(&place.0);
    tries.check("a gz file", || place.is_refused(&packed, ""));
    replace(&place.0, b"");
    fs::File::options().write(true).open(&place.0).unwrap().set_len(1 << 40).unwrap();
    tries.check("a TiB of zeros", || refused(weights::load(&place.0, Device::Cpu), &[&place.named()]));
    for what in NO_FILES {
        put_no_file(&place.0, what);
        let named = place.0.display().to_string();
        tries.check(what, || refused(weights::load(&place.0, Device::Cpu), &[&named]));
    }
    replace(&place.0, b"");
    tries.check("nothing was run", || if pwned.exists() { Err("a pickle was run".into()) } else { Ok(()) });
}

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
