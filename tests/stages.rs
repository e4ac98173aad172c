//! The stages of a training run, each against Python or libtorch, so that a failure shows which stage broke first.
//!
//! A program of its own, because other tests set the number of threads, which changes the last bits of the products.

mod common;

use std::collections::BTreeMap;

use common::{assert_same_bits, data_dir, python, stdout_of, tensors};
use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torch::optim::{Optimizer, RmsProp, RmsPropOptions};
use islp_mnist::torchvision;
use tch::nn::{OptimizerConfig, VarStore, rms_prop};
use tch::{Device, Kind, Tensor};

/// Fails unless both optimizers take the same steps from `start` down these losses.
fn assert_same_steps(start: &Tensor, lr: f64, losses: impl Iterator<Item = impl Fn(&Tensor) -> Tensor>) {
    let (ours, theirs) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
    let [x, y] = [&ours, &theirs].map(|vs| vs.root().var_copy("x", start));
    let mut our_optimizer = RmsProp::new(&ours, RmsPropOptions { lr, ..RmsPropOptions::default() }).unwrap();
    let mut their_optimizer = rms_prop(0.99, 1e-8, 0.0, 0.0, false).build(&theirs, lr).unwrap();
    for (step, loss) in losses.enumerate() {
        let gradients = our_optimizer.gradients(&loss(&x)).unwrap();
        our_optimizer.step(&gradients).unwrap();
        their_optimizer.backward_step(&loss(&y));
        assert_same_bits(&format!("step {step}, lr {lr}"), &x, &y);
    }
}

#[test]
fn rmsprop_steps_are_libtorchs() {
    for lr in [0.01, 1e-5, 3.0] {
        let generator = Generator::new(9);
        let random = || Tensor::from_slice(&generator.uniform(1003, -1.0, 1.0));
        let start = random();
        let losses = (0..100).map(|_| {
            let target = random();
            move |x: &Tensor| (x - &target).pow_tensor_scalar(3).sum(Kind::Float)
        });
        assert_same_steps(&start, lr, losses);
    }
}

#[test]
fn rmsprop_steps_are_libtorchs_for_gradients_of_any_size() {
    // Their squares are 0, denormal, too small to show beside ε, just large enough, and infinite.
    let sizes = (-45..=38).map(|exponent| 10f32.powi(exponent));
    let gradients: Vec<f32> =
        [0.0, f32::INFINITY, f32::NAN].into_iter().chain(sizes).flat_map(|g| [g, -g]).collect();
    let gradient = &Tensor::from_slice(&gradients);
    // The gradients shrink to nothing, the average of their squares only decays.
    let factors = [1.0, 0.5, 0.1, 1e-3, 1e-10].into_iter().chain([0.0; 10]);
    let losses = factors.map(|factor| move |x: &Tensor| (x * gradient * factor).sum(Kind::Float));
    assert_same_steps(&gradient.zeros_like(), 0.01, losses);
}

#[test]
#[should_panic(expected = "one bit: 1 of 3 values differ, the largest difference is 5.9604645e-8")]
fn one_bit_that_differs_is_found() {
    let with = |value: f32| Tensor::from_slice(&[0.0, value, 2.0]);
    assert_same_bits("one bit", &with(1.0), &with(1.0f32.next_down()));
}

#[test]
#[ignore = "needs the Python reference"]
fn every_stage_of_the_first_steps_is_pythons() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stages.safetensors");
    stdout_of(python("tests/stages.py").arg(data_dir()).arg(&file));
    let stages = tensors(&file);
    let assert_stage = |name: &str, ours: &Tensor| assert_same_bits(name, ours, &stages[name]);

    let dataset = torchvision::load(data_dir(), Device::Cpu).unwrap();
    let generator = Generator::new(1);
    let data = SimpleDataModule::new(&dataset, 0.2, 0, 256, &generator).unwrap();
    assert_stage("split.train", data.train_dataset.indices());
    assert_stage("split.validation", data.validation_dataset.indices());

    let mut dataloader = data.train_dataloader();
    let mut batches = dataloader.iter().unwrap();
    let (mut images, mut labels) = batches.next().unwrap().unwrap();
    assert_stage("batch.images", &images);
    assert_stage("batch.labels", &labels);

    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
    let mut module = SimpleModule::classification(model, vs, 0.01).unwrap();
    let parameters: BTreeMap<String, Tensor> = module.vs.variables().into_iter().collect();
    for (name, parameter) in &parameters {
        assert_stage(&format!("init.{name}"), parameter);
    }

    let logits = module.forward(&images, false).unwrap();
    assert_stage("logits.eval", &logits);
    for step in 0..20 {
        let logits = module.forward(&images, true).unwrap();
        let loss = module.loss(&logits, &labels).unwrap();
        let gradients = module.optimizer.gradients(&loss).unwrap();
        if step == 0 {
            assert_stage("logits.train", &logits);
            assert_stage("loss", &loss);
            let accuracy = module.accuracy(&logits, &labels).unwrap();
            assert_stage("accuracy", &accuracy);
            for (name, gradient) in parameters.keys().zip(&gradients) {
                assert_stage(&format!("gradient.{name}"), gradient);
            }
        }
        module.optimizer.step(&gradients).unwrap();
        (images, labels) = batches.next().unwrap().unwrap();
    }
    let states = module.optimizer.states();
    for ((name, _), square_avg) in module.optimizer.parameters().into_iter().zip(&states[0].1) {
        assert_stage(&format!("square_avg.{name}"), square_avg);
        assert_stage(&format!("stepped.{name}"), &parameters[name]);
    }
}
