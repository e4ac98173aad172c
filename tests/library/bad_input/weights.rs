//! Weights. A changed byte in their values leaves other weights, which nothing can tell from the right ones.

use std::fs;
use std::ops::Range;

use islp_mnist::notebook::weights;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tch::Device;
use tempfile::tempdir;

use super::tensors::{
    are_loaded, are_loaded_or_refused, are_refused, bits_of_file, cut_or_longer, entries, file_of, trained,
    values_at, wrong,
};
use super::{NO_FILES, Random, Tries, all, gzipped, put_no_file, refused, replace, sample};

#[test]
fn weights_are_loaded_as_they_are_or_refused_by_tensor() {
    sample(31, load_as_they_are_or_refuse_by_tensor);
}

#[test]
#[ignore = "slow"]
fn all_weights_are_loaded_as_they_are_or_refused_by_tensor() {
    all("Weights", load_as_they_are_or_refuse_by_tensor);
}

fn load_as_they_are_or_refuse_by_tensor(tries: &mut Tries) {
    let (_folder, runs) = trained();
    let files = runs.map(|(_, run)| fs::read(run.join("model.safetensors")).unwrap());
    let random = Random::new(4);
    for (bytes, other, flips) in [(&files[0], &files[1], 750), (&files[1], &files[0], 250)] {
        let (good, others) = (entries(bytes), entries(other));
        tries.check("the file itself", || are_loaded(bytes, &bits_of_file(bytes)));
        cut_or_longer(tries, &random, bytes, &mut |bytes| are_refused(bytes, ""));
        let values = values_at(bytes);
        for (range, flips) in [(0..values, flips), (values..bytes.len(), flips)] {
            flipped_weights(tries, &random, bytes, range, flips);
        }
        for at in 0..good.len() {
            for (what, entries) in wrong(&good, at) {
                let name = &good[at].0;
                tries.check(format!("{name} is {what}"), || are_refused(&file_of(&entries, None), name));
            }
        }
        for name in ["surplus", "", "x\n\u{1b}[31m", "layer1.1", "linear.1.weights", "ä", &"n".repeat(10_000)]
        {
            let surplus = [&good[..], &[(name.into(), Dtype::F32, vec![1], vec![0; 4])]].concat();
            tries.check(format!("{name:?} is surplus"), || {
                are_refused(&file_of(&surplus, None), "is not a parameter of")
            });
        }
        let both = [&good[..], &others].concat();
        tries.check("both models", || are_refused(&file_of(&both, None), "is not a parameter of MNISTModel"));
        let mut others = others;
        for (entry, (name, ..)) in others.iter_mut().zip(&good) {
            entry.0.clone_from(name);
        }
        tries.check("the other model's under these names", || are_refused(&file_of(&others, None), ""));
        other_headers(tries, bytes);
    }
    not_weights(tries, &files[0]);
}

fn flipped_weights(tries: &mut Tries, random: &Random, bytes: &[u8], range: Range<usize>, flips: usize) {
    let values = values_at(bytes);
    for _ in 0..flips {
        let (flipped, at) = random.flip(bytes, range.clone());
        tries.check(format!("byte {at} is {:#04x}", flipped[at]), || {
            if at < values {
                // White space in the header's padding may be other white space.
                return are_loaded_or_refused(&flipped, &bits_of_file(bytes));
            }
            let start = values + (at - values) / 4 * 4;
            if !f32::from_le_bytes(flipped[start..start + 4].try_into().unwrap()).is_nan() {
                return are_loaded(&flipped, &bits_of_file(&flipped));
            }
            let tensors = SafeTensors::deserialize(bytes).unwrap().tensors();
            let contains = |view: &TensorView| view.data().as_ptr_range().contains(&bytes[start..].as_ptr());
            let (name, _) = tensors.iter().find(|(_, view)| contains(view)).unwrap();
            are_refused(&flipped, &format!("{name} contains NaN"))
        });
    }
}

/// Headers rewritten by hand around the same values.
fn other_headers(tries: &mut Tries, bytes: &[u8]) {
    let values = &bytes[values_at(bytes)..];
    let header = std::str::from_utf8(&bytes[8..values_at(bytes)]).unwrap();
    let with = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat();
    for padding in [" ", "\n\n", "\t \r\n"] {
        let spaced = with(&format!("{}{padding}", header.trim_end()));
        tries.check("other white space", || are_loaded(&spaced, &bits_of_file(bytes)));
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
        let lying = |field: &str, lie: &serde_json::Value| {
            let mut fields = fields.clone();
            fields[name][field] = lie.clone();
            with(&serde_json::to_string(&fields).unwrap())
        };
        for lie in lies.into_iter().chain([[start, most - 7], [1 << 63, (1 << 63) + 4]]) {
            let lying = lying("data_offsets", &json!(lie));
            tries.check(format!("{name} from {} to {}", lie[0], lie[1]), || are_refused(&lying, ""));
        }
        let shapes = json!([[u64::MAX, u64::MAX], [1u64 << 62, 8], [3], [-1], [0.5], "10", {}]);
        for lie in shapes.as_array().unwrap() {
            let lying = lying("shape", lie);
            tries.check(format!("{name} of shape {lie}"), || are_refused(&lying, ""));
        }
        for lie in ["F16", "F64", "I8", "F4", "F33", "", "pickle"] {
            let lying = lying("dtype", &json!(lie));
            // An unknown dtype is not in the format; a known one contradicts the offsets.
            let named = if ["F16", "F64", "I8", "F4"].contains(&lie) { name } else { "unknown variant" };
            tries.check(format!("{name} of {lie:?}"), || are_refused(&lying, named));
        }
    }
}

fn not_weights(tries: &mut Tries, bytes: &[u8]) {
    let folder = tempdir().unwrap();
    // Python would run this when loading it: os.system('touch PWNED').
    let pwned = folder.path().join("PWNED");
    let pickle = format!("cposix\nsystem\n(S'touch {}'\ntR.", pwned.display());
    for (what, content, part) in [
        ("a pickle", pickle.as_bytes().to_vec(), ""),
        ("a pickle of protocol 2", [b"\x80\x02", pickle.as_bytes()].concat(), ""),
        ("a zip, as torch.save writes it", [b"PK\x03\x04", pickle.as_bytes()].concat(), "a pickle"),
        ("HDF5", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\0\0\0".to_vec(), ""),
        ("JSON", b"{\"linear.1.bias\": [0, 1, 2]}".to_vec(), ""),
        ("zeros", vec![0; 10_000], ""),
        ("an empty header", [&2u64.to_le_bytes()[..], b"{}"].concat(), "contains no parameter"),
        ("deep JSON", [&100_000u64.to_le_bytes()[..], &[b'['; 100_000]].concat(), ""),
    ] {
        tries.check(what, || are_refused(&content, part));
    }
    tries.check("nothing was run", || if pwned.exists() { Err("a pickle was run".into()) } else { Ok(()) });

    // In a file they are refused by its name.
    let path = folder.path().join("weights.safetensors");
    let mut file_is_refused = |what: &str| {
        tries.check(what, || refused(weights::load(&path, Device::Cpu), &[&path.display().to_string()]));
    };
    replace(&path, bytes);
    let packed = gzipped(&path);
    replace(&path, &packed);
    file_is_refused("a gz file");
    replace(&path, b"");
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    file_is_refused("a TiB of zeros");
    for what in NO_FILES {
        put_no_file(&path, what);
        file_is_refused(what);
    }
}
