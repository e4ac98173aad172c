//! The optimizers of `torch.optim`, against PyTorch's.

use islp_mnist::torch::optim::{Adam, AdamOptions, Optimizer, Sgd, SgdOptions};
use tch::nn::VarStore;
use tch::{Device, Tensor};

use crate::common::{assert_same_bits, python, stdout_of, tensors};

/// As many as in tests/optimizers.py.
const STEPS: usize = 200;

fn optimizer(name: &str, vs: &VarStore) -> Box<dyn Optimizer> {
    let sgd = |options| -> Box<dyn Optimizer> { Box::new(Sgd::new(vs, options).unwrap()) };
    let adam = |options| -> Box<dyn Optimizer> { Box::new(Adam::new(vs, options).unwrap()) };
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
        _ => unreachable!(),
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn sgd_adam_and_adamw_take_pythons_steps() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("optimizers.safetensors");
    stdout_of(python("tests/optimizers.py").arg(&file));
    let theirs = tensors(&file);
    for name in ["sgd", "sgd_decay", "momentum", "nesterov", "adam", "adam_decay", "adamw"] {
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
