//! On an NVIDIA GPU. Where there is none these tests are listed as ignored; scripts/test.sh runs them where there is one.
//!
//! A program of its own, because each test must find the GPU before anything else here uses libtorch.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{assert_same_bits, write_small_mnist};
use islp_mnist::internals::find_cuda;
use islp_mnist::islp::{self, SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{CsvLogger, Trainer};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torchvision;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// The first GPU.
fn gpu() -> Device {
    find_cuda(0).unwrap_or_else(|missing| panic!("{missing}"))
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
fn what_f32_holds_exactly_is_computed_on_a_gpu_as_on_the_cpu() {
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

/// The last metrics of two epochs.
fn train(model: Model, device: Device, folder: &Path) -> BTreeMap<String, f64> {
    let generator = Generator::new(0);
    let mnist = torchvision::load(folder, device).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 4, 32, &generator).unwrap();
    let vs = VarStore::new(device);
    let layers = model.build(&vs.root(), &generator).unwrap();
    // A low rate: at RMSprop's usual one a last digit soon becomes a first.
    let mut module = SimpleModule::classification(layers, vs, 1e-4).unwrap();
    let mut trainer = Trainer::new(2, CsvLogger::new(folder, "run").unwrap(), &generator);
    trainer.fit(&mut module, &data).unwrap();
    trainer.test(&module, &data).unwrap();
    let metrics = trainer.logger.last_metrics().into_iter();
    metrics.map(|(name, value)| (name, value.expect("finite"))).collect()
}
