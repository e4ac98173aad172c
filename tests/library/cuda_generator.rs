//! CUDA's generator without a GPU: its draws, and runs on the CPU whose dropout draws from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Lab, checkout, data_dir, islp_mnist, python, stdout_of, tensors};
use crate::compare::compare_paths;
use islp_mnist::islp::SimpleModule;
use islp_mnist::lightning::{Checkpoint, CheckpointError, Error};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::nn::dropout;
use islp_mnist::torch::{CudaGenerator, DropoutGenerator, Generator};
use serde_json::Value;
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

const CHECKPOINT: &str = "checkpoints/last.safetensors";

/// A generator with this seed, after `offset` draws.
fn generator(seed: u64, offset: u64) -> CudaGenerator {
    let generator = CudaGenerator::new(0);
    generator.set_state(&[seed.to_le_bytes(), offset.to_le_bytes()].concat()).unwrap();
    generator
}

/// A 1 for each value that is kept, a 0 for each that is dropped.
fn kept(mask: &[f32]) -> String {
    mask.iter().map(|&value| if value > 0.0 { '1' } else { '0' }).collect()
}

#[test]
fn the_first_values_kept_are_those_of_nvidias_own_code() {
    // As tests/curand/dropout_mask.cpp prints them of 64 values.
    for (seed, offset, keep, expected) in [
        (0, 0, 0.6, "1000101110110100011100111100011110100010101111111100001111011101"),
        (u64::MAX, 17_179_869_184, 0.3, "0011110100001000110000000000010001011100000001010000100000010000"),
    ] {
        let mask = generator(seed, offset).dropout_mask(64, keep).unwrap();
        assert_eq!(kept(&mask), expected);
        assert!(mask.iter().all(|&value| value == 0.0 || value == 1.0 / keep as f32));
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn nvidias_own_code_keeps_the_same_values() {
    let folder = tempdir().unwrap();
    let program = folder.path().join("dropout_mask");
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++17", "-O2", "-isystem"]).arg(nvidias_headers()).arg("-I");
    compiler.arg(checkout().join("tests/curand")).arg(checkout().join("tests/curand/dropout_mask.cpp"));
    stdout_of(compiler.arg("-o").arg(&program));
    for seed in [0, 1, 42, 4_294_967_301, u64::MAX] {
        // Below and above the least counter of 64 bits.
        for offset in [0, 45_120, 17_179_869_180, 17_179_869_184, 1 << 50] {
            for (n, keep) in [(65_536, 0.6), (32_768, 0.7), (4, 0.5), (1028, 0.999), (25_600, 0.001)] {
                let arguments = [seed.to_string(), offset.to_string(), n.to_string(), keep.to_string()];
                let expected = stdout_of(Command::new(&program).args(&arguments));
                let ours = kept(&generator(seed, offset).dropout_mask(n, keep).unwrap());
                assert!(ours == expected, "{arguments:?}");
            }
        }
    }
}

/// The headers of the wheel nvidia-curand.
fn nvidias_headers() -> PathBuf {
    let packages = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let python =
        Command::new(checkout().join(".venv/bin/python")).args(["-I", "-c", packages]).output().unwrap();
    let headers = Path::new(String::from_utf8(python.stdout).unwrap().trim()).join("nvidia/cu13/include");
    assert!(headers.join("curand_philox4x32_x.h").exists(), "no nvidia-curand in {}", headers.display());
    headers
}

#[test]
fn a_state_is_seed_and_offset_as_torch_cuda_get_rng_state_has_them() {
    let drawn = CudaGenerator::new(7);
    drawn.dropout_mask(65_536, 0.6).unwrap();
    drawn.dropout_mask(32_768, 0.7).unwrap();
    assert_eq!(drawn.get_state(), [7u64.to_le_bytes(), 8u64.to_le_bytes()].concat());
    let next = drawn.dropout_mask(1000, 0.5).unwrap();
    assert_eq!(generator(7, 8).dropout_mask(1000, 0.5).unwrap(), next);
    for (state, reason) in [
        (vec![], "0 bytes instead of 16"),
        (vec![0; 5056], "5056 bytes instead of 16"),
        ([7u64.to_le_bytes(), 6u64.to_le_bytes()].concat(), "its offset is 6"),
        ([7u64.to_le_bytes(), (1u64 << 63).to_le_bytes()].concat(), "its offset is 9223372036854775808"),
    ] {
        let error = drawn.set_state(&state).unwrap_err();
        assert_eq!(error.to_string(), format!("not the state of a torch.Generator: {reason}"));
        assert_eq!(drawn.get_offset(), 12);
    }
}

#[test]
fn dropout_draws_from_the_selected_generator() {
    let generator = Generator::new(1);
    let layer = dropout(0.4, &generator).unwrap();
    let xs = Tensor::ones([256, 256], (Kind::Float, Device::Cpu));
    let states = || (generator.get_state(), generator.cuda().get_state());
    // Each with whether it draws from the CPU's, and from CUDA's.
    for (which, cpu, cuda) in [
        (DropoutGenerator::Device, true, false),
        (DropoutGenerator::Cuda, false, true),
        (DropoutGenerator::Cpu, true, false),
    ] {
        generator.draw_dropout_from(which);
        let before = states();
        let _ = layer.forward_t(&xs, false);
        assert_eq!(states(), before, "{which:?}: nothing is drawn in evaluation");
        let _ = generator.isolate(|| layer.forward_t(&xs, true));
        assert_eq!(states(), before, "{which:?}: draws in isolation leave the states unchanged");
        let dropped = layer.forward_t(&xs, true);
        let after = states();
        assert_eq!((after.0 != before.0, after.1 != before.1), (cpu, cuda), "{which:?}");
        let mean = dropped.mean(Kind::Float).double_value(&[]);
        assert!((mean - 1.0).abs() < 0.02, "{which:?}: {mean}");
    }
    for p in [0.0, 1.0] {
        generator.draw_dropout_from(DropoutGenerator::Cuda);
        let _ = dropout(p, &generator).unwrap().forward_t(&xs, true);
        assert_eq!(generator.cuda().get_offset(), 4, "as PyTorch, with p = {p} it draws nothing");
    }
}

#[test]
fn a_gradient_is_dropped_where_the_value_is() {
    let generator = Generator::new(2);
    generator.draw_dropout_from(DropoutGenerator::Cuda);
    let xs = Tensor::ones([1000], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let dropped = dropout(0.3, &generator).unwrap().forward_t(&xs, true);
    dropped.sum(Kind::Float).backward();
    assert!(xs.grad() == dropped);
}

/// A state of a checkpoint as seed and offset.
fn seed_and_offset(state: &Tensor) -> (u64, u64) {
    let bytes = Vec::<u8>::try_from(state).unwrap();
    let number = |part: &[u8]| u64::from_le_bytes(part.try_into().unwrap());
    (number(&bytes[..8]), number(&bytes[8..]))
}

#[test]
fn a_run_that_was_stopped_ends_with_the_same_bytes() {
    let lab = Lab::new();
    for options in ["--seed 3 --batch-size 32", "--batch-size 64 --num-workers 0 --seed 18446744073709551615"]
    {
        let whole = lab.train(&format!("{options} --generator cuda --epochs 4"));
        let run = lab.train(&format!("{options} --generator cuda --epochs 4 --max-time 0s"));
        lab.train(&format!("--resume {run} --max-time 0s"));
        lab.train(&format!("--resume {run}"));
        lab.assert_same(&run, &whole, options);
        let [run, whole] = [run, whole].map(|run| tensors(&lab.path().join(run).join(CHECKPOINT)));
        assert!(run == whole, "{options}");
    }
}

#[test]
fn a_checkpoint_has_both_generators_where_dropout_draws_from_cudas() {
    let lab = Lab::new();
    // 320 images to train on, 10 steps an epoch, two layers that drop.
    let run = lab.train("--generator cuda --batch-size 32 --epochs 3 --seed 11");
    let checkpoint = tensors(&lab.path().join(&run).join(CHECKPOINT));
    assert_eq!(seed_and_offset(&checkpoint["generator.cuda.state"]), (11, 3 * 10 * 2 * 4));
    assert_eq!(checkpoint["generator.state"].size(), [5056]);
    assert_eq!(lab.run_json(&run)["options"]["generator"], "cuda");

    let run = lab.train("--batch-size 32 --epochs 3 --seed 11");
    let checkpoint = tensors(&lab.path().join(&run).join(CHECKPOINT));
    assert!(!checkpoint.contains_key("generator.cuda.state"));
    assert_eq!(lab.run_json(&run)["options"]["generator"], "cpu");
}

#[test]
fn options_that_do_not_go_with_cudas_generator_are_refused_by_name() {
    let lab = Lab::new();
    for command in ["train", "reproduce"] {
        let options = format!("{command} --generator cuda --device cpu --batch-size 257");
        lab.assert_refused(&options, 2, &["at most 256 images, not 257", "--batch-size", "--generator cpu"]);
    }
    assert!(!lab.exists("output"), "nothing was begun");
    lab.train("--model mlr --generator cuda --device cpu --batch-size 257 --epochs 1");
    let run = lab.train("--generator cuda --batch-size 32 --epochs 1");
    let resume = format!("train --resume {run} --epochs 2 --generator cpu");
    lab.assert_refused(&resume, 2, &["--generator cpu", "used cuda"]);
    // With `auto` the run decides.
    lab.train(&format!("--resume {run} --epochs 2 --generator auto"));
    assert_eq!(lab.run_json(&run)["options"]["generator"], "cuda");
}

#[test]
fn without_the_option_in_run_json_a_run_draws_from_the_cpus() {
    let lab = Lab::new();
    let run = lab.train("--epochs 1 --batch-size 32");
    let mut json = lab.run_json(&run);
    json["options"].as_object_mut().unwrap().remove("generator").unwrap();
    lab.write(&format!("{run}/run.json"), json.to_string());
    let again = lab.train(&format!("--from {run}/run.json"));
    assert_eq!(lab.run_json(&again)["options"]["generator"], "cpu");
    lab.assert_same(&run, &again, "once more");
}

#[test]
fn a_checkpoint_resumes_only_with_its_own_generators() {
    let lab = Lab::new();
    let with = lab.train("--generator cuda --batch-size 32 --epochs 1");
    let without = lab.train("--generator cpu --batch-size 32 --epochs 1");
    let restore = |run: &str, which| {
        let checkpoint = Checkpoint::load(&lab.path().join(run).join(CHECKPOINT)).unwrap();
        let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
        generator.draw_dropout_from(which);
        let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
        let mut module = SimpleModule::classification(model, vs, 0.01).unwrap();
        checkpoint.restore(&mut module, &generator).map_err(|error| match error {
            Error::Checkpoint { reason, .. } => reason,
            other => panic!("{other}"),
        })
    };
    restore(&with, DropoutGenerator::Cuda).unwrap();
    restore(&without, DropoutGenerator::Cpu).unwrap();
    let lacks = restore(&without, DropoutGenerator::Cuda).unwrap_err();
    assert!(matches!(&lacks, CheckpointError::Lacks(name) if name == "generator.cuda.state"), "{lacks}");
    let other = restore(&with, DropoutGenerator::Device).unwrap_err();
    assert!(
        matches!(&other, CheckpointError::State { name, .. } if name == "generator.cuda.state"),
        "{other}"
    );
}

#[test]
fn a_trace_shows_both_generators_and_that_steps_draw_from_cudas_alone() {
    let lab = Lab::new();
    lab.train("--generator cuda --batch-size 32 --epochs 1 --trace run.trace");
    let steps: Vec<Value> =
        lab.text("run.trace").lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let hash = |step: &Value, name: &str| {
        let quantities = step["quantities"].as_array().unwrap();
        quantities.iter().find(|quantity| quantity["name"] == name).unwrap()["xxh3"].to_string()
    };
    for pair in steps[..10].windows(2) {
        assert_eq!(hash(&pair[0], "generator.state"), hash(&pair[1], "generator.state"));
        assert_ne!(hash(&pair[0], "generator.cuda.state"), hash(&pair[1], "generator.cuda.state"));
    }
}

/// A Python script on the CPU that drops what a GPU would, and writes the generator's offset at the end into a file.
fn python_on_cuda(script: &str, offset: &Path) -> Command {
    let mut command = python("tests/cuda_dropout.py");
    command.arg(offset).arg(checkout().join(script));
    command
}

/// Runs the notebook in Python and the program, dropping what a GPU would; fails unless all is identical.
fn assert_parity(data_dir: &Path, options: &str) {
    let folder = tempdir().unwrap();
    let run = |command: &mut Command, side: &str| {
        let output = folder.path().join(side);
        command.arg("--data-dir").arg(data_dir).arg("--output-dir").arg(&output);
        let stdout = stdout_of(command.args(options.split_whitespace()));
        fs::write(output.join("stdout.txt"), stdout).unwrap();
    };
    run(&mut python_on_cuda("scripts/notebook.py", &folder.path().join("offset")), "reference");
    run(islp_mnist().args(["reproduce", "--device", "cpu", "--generator", "cuda"]), "candidate");
    let [reference, candidate] = ["reference", "candidate"].map(|side| folder.path().join(side));
    let (report, _) = compare_paths(&reference, &candidate, "");
    assert!(report.contains("\nidentical: 5 files, 8 tensors, 0 differences"), "{report}");
}

#[test]
#[ignore = "needs the Python reference"]
fn both_models_are_pythons_where_it_drops_what_a_gpu_would() {
    assert_parity(&data_dir(), "--epochs 2");
    assert_parity(
        &data_dir(),
        "--epochs 2 --seed 18446744073709551615 --batch-size 100 --num-workers 0 --lr 0.001",
    );
}

#[test]
#[ignore = "needs the Python reference"]
fn runs_of_train_and_their_generators_are_pythons_where_it_drops_what_a_gpu_would() {
    let lab = Lab::new();
    let data = lab.path().join("data");
    for (model, options) in
        [("mlp", "--seed 9 --batch-size 32"), ("mlr", "--seed 4294967303 --batch-size 48")]
    {
        let offset = lab.path().join("offset");
        let mut theirs = python_on_cuda("scripts/train.py", &offset);
        theirs.arg("--data-dir").arg(&data).arg("--output-dir").arg(lab.path().join("python"));
        theirs.args(["--device", "cpu", "--epochs", "3", "--model", model]).args(options.split_whitespace());
        let theirs = stdout_of(theirs.env("OMP_NUM_THREADS", "1")).trim_end().to_owned();
        let ours = lab.train(&format!("{options} --generator cuda --epochs 3 --model {model}"));
        lab.assert_same_numbers(&ours, &theirs, model);
        let [ours, theirs] = [ours, theirs].map(|run| tensors(&lab.path().join(run).join(CHECKPOINT)));
        assert!(ours["generator.state"] == theirs["generator.state"], "{model}: the CPU's generator");
        let (_, drawn) = seed_and_offset(&ours["generator.cuda.state"]);
        assert_eq!(fs::read_to_string(&offset).unwrap(), format!("{drawn}\n"), "{model}");
    }
}
