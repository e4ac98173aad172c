//! On an NVIDIA GPU. Where there is none these tests are listed as ignored; scripts/test.sh runs them where there is one.
//!
//! A program of its own, because each test must find the GPU before anything else here uses libtorch.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Lab, assert_same_bits, write_small_mnist};
use islp_mnist::islp::{self, SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{CsvLogger, Trainer};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::cuda::find;
use islp_mnist::torch::optim::{Optimizer, RmsProp, RmsPropOptions};
use islp_mnist::torch::{CudaGenerator, DropoutGenerator, Generator};
use islp_mnist::torchvision;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// The first GPU.
fn gpu() -> Device {
    find(0).unwrap_or_else(|missing| panic!("{missing}"))
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn the_generator_draws_the_same_on_a_gpu_as_on_the_cpu() {
    let gpu = gpu();
    // libtorch seeds the GPU's generator along with the CPU's.
    assert!(Generator::agrees_with_libtorch().unwrap());
    let generator = Generator::new(3);
    let (uniform, randperm) = (generator.uniform(1000, -1.0, 1.0), generator.randperm(1000));
    let shuffled = |device| {
        let order = Tensor::from_slice(&randperm).to_device(device);
        Tensor::from_slice(&uniform).to_device(device).index_select(0, &order)
    };
    assert_eq!(shuffled(gpu).device(), gpu);
    assert_same_bits("shuffled draws", &shuffled(gpu).to_device(Device::Cpu), &shuffled(Device::Cpu));
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn cublas_on_a_gpu_has_the_workspace_that_lightning_gives_it() {
    let _gpu = gpu();
    assert_eq!(std::env::var("CUBLAS_WORKSPACE_CONFIG").as_deref(), Ok(":4096:8"));
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn the_accuracy_of_a_model_on_a_gpu_is_rounded_as_on_the_cpu() {
    let gpu = gpu();
    let vs = VarStore::new(gpu);
    let module =
        SimpleModule::classification(Model::Mlr.build(&vs.root(), &Generator::new(0)).unwrap(), vs, 0.01)
            .unwrap();
    for (count, every) in [(12_000, 7), (10_000, 3), (256, 5)] {
        for right in (0..count).step_by(every) {
            // The logits predict 1 for the first `right` images, which is correct, and 0 for the others.
            let predicted = Tensor::arange(count, (Kind::Int64, Device::Cpu)).lt(right).to_kind(Kind::Int64);
            let logits = predicted.one_hot(2).to_kind(Kind::Float).to_device(gpu);
            let labels = Tensor::ones([count], (Kind::Int64, gpu));
            let accuracy = f32::try_from(module.accuracy(&logits, &labels).unwrap()).unwrap();
            assert_eq!(accuracy, right as f32 / count as f32, "{right} of {count}");
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn products_that_f32_represents_exactly_are_the_same_on_a_gpu() {
    let gpu = gpu();
    let generator = Generator::new(4);
    // Products of small whole numbers, exact in any order and in TF32.
    let matrix = || Tensor::from_slice(&generator.bernoulli(64 * 64, 0.5)).view([64, 64]);
    let (a, b) = (matrix(), matrix());
    let product = a.to_device(gpu).matmul(&b.to_device(gpu)).relu();
    assert_eq!(product.device(), gpu);
    assert_same_bits("product", &product.to_device(Device::Cpu), &a.matmul(&b).relu());
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn an_input_on_the_cpu_is_an_error_of_a_model_on_a_gpu() {
    let vs = VarStore::new(gpu());
    let layers = Model::Mlr.build(&vs.root(), &Generator::new(0)).unwrap();
    let module = SimpleModule::classification(layers, vs, 0.01).unwrap();
    let result = module.forward(&Tensor::zeros([1, 1, 28, 28], (Kind::Float, Device::Cpu)), false);
    assert!(matches!(result, Err(islp::Error::Input { device: Device::Cpu, .. })), "{result:?}");
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn training_on_a_gpu_follows_training_on_the_cpu_up_to_rounding() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    write_small_mnist(folder.path(), 400, 100);
    for model in Model::ALL {
        let (on_cpu, on_gpu) = (train(model, Device::Cpu, folder.path()), train(model, gpu, folder.path()));
        for (name, value) in on_cpu {
            let other = on_gpu[&name];
            let difference = (value - other).abs();
            assert!(difference < 0.01, "{model:?}: {name} is {value} on the CPU, {other} on the GPU");
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn dropout_on_a_gpu_is_the_same_as_without_one() {
    let gpu = gpu();
    for seed in [0, 42, 4_294_967_301, u64::MAX] {
        let (on_gpu, without) = (CudaGenerator::new(seed), CudaGenerator::new(seed));
        for (n, p) in [(49_152, 0.4), (32_768, 0.3), (4, 0.5), (1028, 0.001), (51_200, 0.999)] {
            let ones = Tensor::ones([n], (Kind::Float, Device::Cpu));
            let dropped = on_gpu.dropout(&ones.to_device(gpu), p).unwrap();
            assert_eq!(dropped.device(), gpu);
            let expected = without.dropout(&ones, p).unwrap();
            assert_same_bits(
                &format!("{n} ones, p = {p}, seed {seed}"),
                &dropped.to_device(Device::Cpu),
                &expected,
            );
            assert_eq!(on_gpu.get_state(), without.get_state());
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn dropout_on_a_gpu_continues_after_sizes_that_only_the_gpu_knows_and_from_any_state() {
    let gpu = gpu();
    let (on_gpu, without) = (CudaGenerator::new(5), CudaGenerator::new(5));
    let ones = |n: i64| Tensor::ones([n], (Kind::Float, Device::Cpu));
    for n in [1, 1_000_003, 1 << 22] {
        let _ = on_gpu.dropout(&ones(n).to_device(gpu), 0.5).unwrap();
    }
    let then = on_gpu.get_state();
    without.set_state(&then).unwrap();
    let expected = without.dropout(&ones(32_768), 0.4).unwrap();
    let check = |what: &str| {
        let dropped = on_gpu.dropout(&ones(32_768).to_device(gpu), 0.4).unwrap();
        assert_same_bits(what, &dropped.to_device(Device::Cpu), &expected);
    };
    check("at once");
    on_gpu.set_state(&then).unwrap();
    check("once more");
    // Seeding libtorch's generator replaces this one's state.
    let _ = CudaGenerator::new(6).dropout(&ones(4).to_device(gpu), 0.5).unwrap();
    Generator::agrees_with_libtorch().unwrap();
    on_gpu.set_state(&then).unwrap();
    check("after another generator");
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn rmsprop_on_a_gpu_rounds_as_the_foreach_path_does() {
    let gpu = gpu();
    let generator = Generator::new(9);
    let start = generator.uniform(100_003, -1.0, 1.0);
    let vs = VarStore::new(gpu);
    let x = vs.root().var_copy("x", &Tensor::from_slice(&start).to_device(gpu));
    let mut optimizer = RmsProp::new(&vs, RmsPropOptions::default()).unwrap();
    let (mut x_expected, mut v) = (start, vec![0f32; 100_003]);
    let (weight, minus_lr) = ((1.0 - 0.99f64) as f32, -0.01f32);
    for step in 0..20 {
        let g = generator.uniform(100_003, -1e-3, 1e-3);
        optimizer.step(&[Tensor::from_slice(&g).to_device(gpu)]).unwrap();
        for ((x, v), g) in x_expected.iter_mut().zip(&mut v).zip(g) {
            *v = weight.mul_add(g * g, *v * 0.99f32);
            *x = minus_lr.mul_add(g / (v.sqrt() + 1e-8f32), *x);
        }
        let expected = Tensor::from_slice(&x_expected);
        assert_same_bits(&format!("step {step}"), &x.to_device(Device::Cpu), &expected);
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_run_on_a_gpu_that_was_stopped_ends_with_the_same_bytes() {
    let lab = Lab::new();
    let train = |options: &str| {
        // The helpers hide it.
        let mut program = lab.program(&format!("train --device cuda {options}"));
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or("0".into());
        let assert = program.env("CUDA_VISIBLE_DEVICES", visible).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap().trim_end().to_string()
    };
    for options in ["--batch-size 32", "--batch-size 300 --num-workers 0"] {
        let whole = train(&format!("{options} --epochs 4"));
        let run = train(&format!("{options} --epochs 4 --max-time 0s"));
        train(&format!("--resume {run}"));
        lab.assert_same(&run, &whole, options);
        assert_eq!(lab.run_json(&run)["options"]["generator"], "cuda");
    }
}

/// The last metrics of two epochs.
fn train(model: Model, device: Device, folder: &Path) -> BTreeMap<String, f64> {
    let generator = Generator::new(0);
    // The CPU drops the same as a GPU.
    generator.draw_dropout_from(DropoutGenerator::Cuda);
    let mnist = torchvision::load(folder, device).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 4, 32, &generator).unwrap();
    let vs = VarStore::new(device);
    let layers = model.build(&vs.root(), &generator).unwrap();
    // A low rate: at RMSprop's usual one a difference in the last digit soon reaches the first.
    let mut module = SimpleModule::classification(layers, vs, 1e-4).unwrap();
    let mut trainer = Trainer::new(2, CsvLogger::new(folder, "run").unwrap(), &generator);
    trainer.fit(&mut module, &data).unwrap();
    trainer.test(&module, &data).unwrap();
    let metrics = trainer.logger.last_metrics().into_iter();
    metrics.map(|(name, value)| (name, value.expect("finite"))).collect()
}
