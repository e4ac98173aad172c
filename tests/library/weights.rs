//! Weights between Python and Rust, in both directions.

use std::fs;
use std::path::Path;

use crate::common::python::python_output;
use crate::common::{assert_same_bits, checkout, data_dir, islp_mnist, python, stdout_of, tensors};
use islp_mnist::notebook::weights;
use islp_mnist::torchvision;
use serde_json::Value;
use tch::Device;

/// The tracked reference run of a model.
fn reference_run(model: &str) -> std::path::PathBuf {
    let name = if model == "mlp" { "MNIST" } else { "MNIST_MLR" };
    checkout().join("output").join(name).join("version_0")
}

fn test_json(checkpoint: &Path) -> Value {
    let mut command = islp_mnist();
    command.args(["test", "--json", "--checkpoint"]).arg(checkpoint).arg("--data-dir").arg(data_dir());
    serde_json::from_str(&stdout_of(&mut command)).unwrap()
}

#[test]
#[ignore = "needs the Python reference"]
fn weights_trained_here_load_in_python_and_give_the_same_logits() {
    let images = torchvision::load(data_dir(), Device::Cpu).unwrap().test_images.narrow(0, 0, 256);
    for model in ["mlp", "mlr"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        fs::copy(reference_run(model).join("model.safetensors"), &file).unwrap();
        stdout_of(python("tests/weights.py").args(["logits", model]).arg(folder.path()).arg(data_dir()));
        let theirs = &tensors(&folder.path().join("logits.safetensors"))["logits"];
        let ours = weights::load(&file, Device::Cpu).unwrap().forward(&images, false).unwrap();
        assert_same_bits(model, &ours, theirs);
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn weights_saved_in_python_give_the_same_test_metrics_here() {
    for model in ["mlp", "mlr"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        stdout_of(python("tests/weights.py").args(["save", model]).arg(folder.path()).arg(data_dir()));
        for pickle in ["state_dict.pt", "lightning.ckpt"] {
            let options = format!("{pickle} {pickle}.safetensors");
            python_output(folder.path(), "scripts/parity_checkpoint.py", &options);
        }
        let theirs: Value = serde_json::from_slice(&fs::read(path("metrics.json")).unwrap()).unwrap();
        for file in [
            "save_file.safetensors",
            "save_model.safetensors",
            "state_dict.pt.safetensors",
            "lightning.ckpt.safetensors",
        ] {
            let ours = test_json(&path(file));
            for metric in ["test_loss", "test_accuracy"] {
                assert_eq!(ours[metric], theirs[metric], "{model}, {file}: {metric}");
            }
        }
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn wrappers_of_a_model_in_python_do_not_count_in_weights_checkpoints_and_traces() {
    let folder = tempfile::tempdir().unwrap();
    stdout_of(python("tests/wrapped.py").arg(folder.path()));
    for (file, verdict) in [
        ("safetensors", "identical: 1 file, 9 tensors"),
        ("trace", "identical: 1 file, 0 tensors, 4 steps traced"),
    ] {
        let path = |name: &str| folder.path().join(format!("{name}.{file}"));
        let told = stdout_of(islp_mnist().arg("compare").args([path("plain"), path("wrapped")]));
        assert!(told.contains(&format!("\n{verdict}, 0 differences")), "{told}");
    }
}
