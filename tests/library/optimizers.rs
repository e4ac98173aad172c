//! The optimizers of `torch.optim`, against PyTorch's.

use std::fs;

use islp_mnist::islp::SimpleModule;
use islp_mnist::lightning::{Checkpoint, ModelCheckpoint, TrainerState};
use islp_mnist::torch::nn::linear;
use islp_mnist::torch::optim::{Adam, AdamOptions, Optimizer, RmsProp, RmsPropOptions, Sgd, SgdOptions};
use islp_mnist::torch::{Generator, state_dict};
use tch::nn::VarStore;
use tch::{Device, Tensor};

use crate::common::{assert_same_bits, python, stdout_of, tensors};

/// As many as in tests/optimizers.py.
const STEPS: usize = 200;

fn optimizer(name: &str, vs: &VarStore) -> Box<dyn Optimizer> {
    let sgd = |options| -> Box<dyn Optimizer> { Box::new(Sgd::new(vs, options).unwrap()) };
    let adam = |options| -> Box<dyn Optimizer> { Box::new(Adam::new(vs, options).unwrap()) };
    let rmsprop = |options| -> Box<dyn Optimizer> { Box::new(RmsProp::new(vs, options).unwrap()) };
    let defaults = RmsPropOptions::default();
    let usual = AdamOptions { lr: 0.01, ..AdamOptions::default() };
    let base = SgdOptions { lr: 0.05, weight_decay: 0.01, ..SgdOptions::default() };
    match name {
        "sgd" => sgd(SgdOptions { weight_decay: 0.0, ..base }),
        "sgd_decay" => sgd(base),
        "momentum" => sgd(SgdOptions { momentum: 0.9, dampening: 0.1, ..base }),
        "nesterov" => sgd(SgdOptions { momentum: 0.9, nesterov: true, ..base }),
        "adam" => adam(usual),
        "adam_decay" => adam(AdamOptions { betas: (0.8, 0.99), eps: 1e-6, weight_decay: 0.01, ..usual }),
        "adamw" => adam(AdamOptions { lr: 0.01, ..AdamOptions::adam_w() }),
        "rmsprop_decay" => {
            rmsprop(RmsPropOptions { lr: 0.02, alpha: 0.9, eps: 1e-12, weight_decay: 0.01, ..defaults })
        }
        "rmsprop_momentum" => rmsprop(RmsPropOptions { momentum: 0.9, maximize: true, ..defaults }),
        "rmsprop_centered" => {
            rmsprop(RmsPropOptions { centered: true, momentum: 0.5, weight_decay: 0.01, ..defaults })
        }
        _ => unreachable!(),
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn sgd_adam_adamw_and_rmsprop_take_pythons_steps() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("optimizers.safetensors");
    stdout_of(python("tests/optimizers.py").arg(&file));
    let theirs = tensors(&file);
    let of_sgd = ["sgd", "sgd_decay", "momentum", "nesterov"];
    let of_adam = ["adam", "adam_decay", "adamw"];
    let of_rmsprop = ["rmsprop_decay", "rmsprop_momentum", "rmsprop_centered"];
    for name in [&of_sgd[..], &of_adam, &of_rmsprop].concat() {
        let vs = VarStore::new(Device::Cpu);
        let root = vs.root();
        let parameters = ["a", "b", "c"].map(|key| root.var_copy(key, &theirs[&format!("start.{key}")]));
        let mut ours = optimizer(name, &vs);
        let mut compared = 0;
        for step in 0..STEPS {
            let gradients: Vec<Tensor> =
                ["a", "b", "c"].iter().map(|key| theirs[&format!("gradient.{step}.{key}")].copy()).collect();
            ours.step(&gradients).unwrap();
            for (i, (key, parameter)) in ["a", "b", "c"].iter().zip(&parameters).enumerate() {
                let Some(expected) = theirs.get(&format!("{name}.{step}.{key}")) else { continue };
                for (kind, states) in ours.states() {
                    let what = format!("{name}.{step}.{kind}.{key}");
                    assert_same_bits(&what, states[i], &theirs[&what]);
                }
                assert_same_bits(&format!("{name}.{step}.{key}"), parameter, expected);
                compared += 1;
            }
        }
        assert_eq!(compared, 3 * (3 + STEPS / 10), "{name}");
    }
}

/// A linear layer with one of these optimizers.
fn module(name: &str, seed: u64) -> (SimpleModule, Generator) {
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(seed));
    let layer = linear(vs.root(), 37, 11, &generator).unwrap();
    let optimizer = optimizer(name, &vs);
    (SimpleModule::with_optimizer(Box::new(layer), vs, optimizer), generator)
}

#[test]
#[ignore = "needs the Python reference"]
fn a_run_goes_on_with_any_optimizer_where_python_left_it_and_the_other_way_round() {
    // Rust, Python and Rust again take five steps each.
    const EACH: usize = 5;
    let generator = Generator::new(3);
    let random = |size: &[i64]| {
        Tensor::from_slice(&generator.uniform(size.iter().product::<i64>() as usize, -1.0, 1.0)).view(size)
    };
    let gradients: Vec<[Tensor; 2]> = (0..3 * EACH).map(|_| [random(&[11]), random(&[11, 37])]).collect();
    let step = |module: &mut SimpleModule, steps: std::ops::Range<usize>| {
        for gradients in &gradients[steps] {
            module.optimizer.step(gradients).unwrap();
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let named = gradients.iter().enumerate().flat_map(|(step, [bias, weight])| {
        [("bias", bias), ("weight", weight)].map(|(key, tensor)| (format!("{step}.{key}"), tensor.copy()))
    });
    state_dict::save(&named.collect(), &folder.path().join("gradients.safetensors")).unwrap();
    let mut runs = vec![];
    for name in ["sgd", "momentum", "nesterov", "adam", "adam_decay", "adamw"] {
        let (mut whole, generator) = module(name, 1);
        step(&mut whole, 0..EACH);
        let state = TrainerState { global_step: EACH, ..TrainerState::default() };
        let mut checkpoints = ModelCheckpoint::new(&folder.path().join(name), 1, &()).unwrap();
        if name == "adam" {
            // The module's steps are not all this trainer's.
            let state = TrainerState { global_step: 1, ..TrainerState::default() };
            let error = checkpoints.epoch_end(&whole, &generator, state, true).unwrap_err().to_string();
            let expected = format!("the optimizer has taken {EACH} steps, but the trainer 1, ");
            assert!(error.contains(&expected), "{error}");
        }
        checkpoints.epoch_end(&whole, &generator, state, true).unwrap();
        fs::rename(checkpoints.last().unwrap(), folder.path().join(name).join("from.safetensors")).unwrap();
        step(&mut whole, EACH..3 * EACH);
        runs.push((name, whole));
    }
    stdout_of(python("tests/handed_optimizers.py").arg(folder.path()));
    for (name, whole) in runs {
        let (mut resumed, generator) = module(name, 2);
        let checkpoint = Checkpoint::load(&folder.path().join(name).join("to.safetensors")).unwrap();
        checkpoint.restore(&mut resumed, &generator).unwrap();
        step(&mut resumed, 2 * EACH..3 * EACH);
        for (key, expected) in whole.state_dict() {
            assert_same_bits(&format!("{name}, {key}"), &resumed.state_dict()[&key], &expected);
        }
        // Another optimizer's states are refused.
        if name == "adam" {
            let error = checkpoint.restore(&mut module("momentum", 1).0, &generator).unwrap_err().to_string();
            assert!(error.contains("lacks optimizer.momentum_buffer."), "{error}");
            let error = checkpoint.restore(&mut module("sgd", 1).0, &generator).unwrap_err().to_string();
            assert!(error.contains("optimizer.exp_avg.bias belongs to another optimizer"), "{error}");
        }
    }
}
