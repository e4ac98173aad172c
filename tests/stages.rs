//! The stages of a training run, each against what comes before it in Python or libtorch, so that a failure
//! says which stage broke first.
//!
//! A program of its own, because other tests set the number of threads, which changes the last bits of the products.

mod common;

use std::collections::BTreeMap;

use common::{assert_same_bits, data_dir, python, stdout_of, tensors};
use islp_mnist::islp::SimpleDataModule;
use islp_mnist::islp::SimpleModule;
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torch::optim::RmsProp;
use islp_mnist::torchvision;
use tch::nn::{OptimizerConfig, VarStore, rms_prop};
use tch::{Device, Kind, Tensor};

#[test]
fn rmsprop_steps_are_those_of_libtorch() {
    for lr in [0.01, 1e-5, 3.0] {
        let generator = Generator::new(9);
        let (ours, theirs) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
        let start = Tensor::from_slice(&generator.uniform(1003, -1.0, 1.0));
        let (x, y) = (ours.root().var_copy("x", &start), theirs.root().var_copy("x", &start));
        let mut our_optimizer = RmsProp::new(&ours, lr).unwrap();
        let mut their_optimizer = rms_prop(0.99, 1e-8, 0.0, 0.0, false).build(&theirs, lr).unwrap();
        for step in 0..100 {
            let target = Tensor::from_slice(&generator.uniform(1003, -1.0, 1.0));
            let loss = |x: &Tensor| ((x - &target).pow_tensor_scalar(3)).sum(Kind::Float);
            let gradients = our_optimizer.gradients(&loss(&x)).unwrap();
            our_optimizer.step(&gradients).unwrap();
            their_optimizer.backward_step(&loss(&y));
            assert_same_bits(&format!("step {step}, lr {lr}"), &x, &y);
        }
    }
}

#[test]
fn rmsprop_steps_are_those_of_libtorch_for_gradients_of_any_size() {
    // Their squares are 0, denormal, so small that they don't show beside ε, just not so small, and infinite.
    let sizes = (-45..=38).map(|exponent| 10f32.powi(exponent));
    let gradients: Vec<f32> =
        [0.0, f32::INFINITY, f32::NAN].into_iter().chain(sizes).flat_map(|g| [g, -g]).collect();
    let gradient = Tensor::from_slice(&gradients);
    let (ours, theirs) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
    let [x, y] = [&ours, &theirs].map(|vs| vs.root().zeros("x", &gradient.size()));
    let mut our_optimizer = RmsProp::new(&ours, 0.01).unwrap();
    let mut their_optimizer = rms_prop(0.99, 1e-8, 0.0, 0.0, false).build(&theirs, 0.01).unwrap();
    // The gradients shrink to nothing, the average of their squares only decays.
    for (step, factor) in [1.0, 0.5, 0.1, 1e-3, 1e-10].into_iter().chain([0.0; 10]).enumerate() {
        let loss = |x: &Tensor| (x * &gradient * factor).sum(Kind::Float);
        let gradients = our_optimizer.gradients(&loss(&x)).unwrap();
        our_optimizer.step(&gradients).unwrap();
        their_optimizer.backward_step(&loss(&y));
        assert_same_bits(&format!("step {step}"), &x, &y);
    }
}

#[test]
#[should_panic(expected = "one bit: 1 of 3 values differ, the largest difference is 5.9604645e-8")]
fn one_differing_bit_is_seen() {
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

    let dataset = torchvision::load(&data_dir(), Device::Cpu).unwrap();
    let generator = Generator::new(1);
    let data = SimpleDataModule::new(&dataset, 0.2, 0, 256, &generator).unwrap();
    assert_same_bits("split.train", data.train_dataset.indices(), &stages["split.train"]);
    assert_same_bits("split.validation", data.validation_dataset.indices(), &stages["split.validation"]);

    let mut dataloader = data.train_dataloader();
    let mut batches = dataloader.iter().unwrap();
    let (mut images, mut labels) = batches.next().unwrap().unwrap();
    assert_same_bits("batch.images", &images, &stages["batch.images"]);
    assert_same_bits("batch.labels", &labels, &stages["batch.labels"]);

    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
    let mut module = SimpleModule::classification(model, vs, 0.01).unwrap();
    let parameters: BTreeMap<String, Tensor> = module.vs.variables().into_iter().collect();
    for (name, parameter) in &parameters {
        assert_same_bits(&format!("init.{name}"), parameter, &stages[&format!("init.{name}")]);
    }

    let logits = module.forward(&images, false).unwrap();
    assert_same_bits("logits.eval", &logits, &stages["logits.eval"]);
    for step in 0..20 {
        let logits = module.forward(&images, true).unwrap();
        let loss = module.loss(&logits, &labels).unwrap();
        let gradients = module.optimizer.gradients(&loss).unwrap();
        if step == 0 {
            assert_same_bits("logits.train", &logits, &stages["logits.train"]);
            assert_same_bits("loss", &loss, &stages["loss"]);
            let accuracy = module.accuracy(&logits, &labels).unwrap();
            assert_same_bits("accuracy", &accuracy, &stages["accuracy"]);
            for (name, gradient) in parameters.keys().zip(&gradients) {
                assert_same_bits(&format!("gradient.{name}"), gradient, &stages[&format!("gradient.{name}")]);
            }
        }
        module.optimizer.step(&gradients).unwrap();
        (images, labels) = batches.next().unwrap().unwrap();
    }
    for (name, square_avg) in module.optimizer.square_avg() {
        assert_same_bits(&format!("square_avg.{name}"), square_avg, &stages[&format!("square_avg.{name}")]);
        assert_same_bits(&format!("stepped.{name}"), &parameters[name], &stages[&format!("stepped.{name}")]);
    }
}
