//! The generator against libtorch's own draws. libtorch has one generator for the whole process, so every
//! test holds a lock while it uses it.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::assert_same_bits;
use islp_mnist::generator::Generator;
use islp_mnist::model::{MnistModel, dropout};
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

/// Seeds that differ above bit 32 or not, with few and many bits.
const SEEDS: [u64; 6] = [0, 1, 42, 4_294_967_295, 4_294_967_301, u64::MAX];
const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

/// libtorch's generator and ours, both seeded, ours first in the pair to hold while libtorch's is in use.
fn seeded(seed: u64) -> (MutexGuard<'static, ()>, Generator) {
    static LIBTORCH: Mutex<()> = Mutex::new(());
    let lock = LIBTORCH.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    (lock, Generator::new(seed))
}

#[test]
fn the_64_bit_draws_are_those_of_libtorch() {
    for seed in SEEDS {
        let (_lock, generator) = seeded(seed);
        let theirs = Tensor::zeros([2000], (Kind::Int64, Device::Cpu)).random_();
        let ours: Vec<i64> = (0..2000).map(|_| generator.random() as i64).collect();
        assert_same_bits(&format!("random_, seed {seed}"), &Tensor::from_slice(&ours), &theirs);
    }
}

#[test]
fn the_uniform_draws_are_those_of_libtorch() {
    for seed in SEEDS {
        for (from, to) in [(0.0, 1.0), (-0.0357142857, 0.0357142857), (-0.0625, 0.0625), (3.0, 1e6)] {
            // Sizes below, at and above one block of the state and a vector register.
            for n in [1, 15, 16, 17, 623, 624, 625, 200_704] {
                let (_lock, generator) = seeded(seed);
                let theirs = Tensor::zeros([n], FLOAT).uniform_(from, to);
                let ours = Tensor::from_slice(&generator.uniform(n as usize, from, to));
                assert_same_bits(&format!("uniform_({from}, {to}) of {n}, seed {seed}"), &ours, &theirs);
            }
        }
    }
}

#[test]
fn the_bernoulli_draws_are_those_of_libtorch() {
    for seed in SEEDS {
        for p in [0.6, 0.7, 0.5, 1e-3] {
            for n in [1, 311, 312, 313, 65_536] {
                let (_lock, generator) = seeded(seed);
                let theirs = Tensor::zeros([n], FLOAT).bernoulli_float_(p);
                let ours = Tensor::from_slice(&generator.bernoulli(n as usize, p));
                assert_same_bits(&format!("bernoulli_({p}) of {n}, seed {seed}"), &ours, &theirs);
            }
        }
    }
}

#[test]
fn the_permutations_are_those_of_libtorch() {
    for seed in SEEDS {
        for n in [0, 1, 2, 624, 625, 60_000] {
            let (_lock, generator) = seeded(seed);
            let theirs = Tensor::randperm(n, (Kind::Int64, Device::Cpu));
            let ours = Tensor::from_slice(&generator.randperm(n as usize));
            assert_same_bits(&format!("randperm({n}), seed {seed}"), &ours, &theirs);
        }
    }
}

#[test]
fn draws_of_all_kinds_after_one_another_stay_those_of_libtorch() {
    let (_lock, generator) = seeded(7);
    for round in 0..50 {
        let n = 100 + 13 * round;
        let theirs = Tensor::zeros([n], FLOAT).uniform_(-1.0, 1.0);
        assert_same_bits("uniform_", &Tensor::from_slice(&generator.uniform(n as usize, -1.0, 1.0)), &theirs);
        let theirs = Tensor::randperm(n, (Kind::Int64, Device::Cpu));
        assert_same_bits("randperm", &Tensor::from_slice(&generator.randperm(n as usize)), &theirs);
        let theirs = Tensor::zeros([n], FLOAT).bernoulli_float_(0.6);
        assert_same_bits("bernoulli_", &Tensor::from_slice(&generator.bernoulli(n as usize, 0.6)), &theirs);
        let theirs = Tensor::zeros([1], (Kind::Int64, Device::Cpu)).random_();
        assert_same_bits("random_", &Tensor::from_slice(&[generator.random() as i64]), &theirs);
    }
}

#[test]
fn the_layers_of_the_mlp_start_as_libtorch_would_draw_them() {
    let (_lock, generator) = seeded(3);
    let vs = VarStore::new(Device::Cpu);
    let _model = MnistModel::new(&vs.root(), &generator);
    let variables = vs.variables();
    for (layer, out_features, in_features) in
        [("layer1.1", 256, 784), ("layer2.0", 128, 256), ("_forward.2", 10, 128)]
    {
        // kaiming_uniform_(a=sqrt(5)) comes to 1/sqrt(fan_in), but for its last bits.
        let bound =
            3f64.sqrt() * ((2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt() / f64::from(in_features).sqrt());
        let weight = Tensor::zeros([out_features, i64::from(in_features)], FLOAT).uniform_(-bound, bound);
        assert_same_bits(layer, &variables[&format!("{layer}.weight")], &weight);
        let bound = 1.0 / f64::from(in_features).sqrt();
        let bias = Tensor::zeros([out_features], FLOAT).uniform_(-bound, bound);
        assert_same_bits(layer, &variables[&format!("{layer}.bias")], &bias);
    }
}

#[test]
fn dropout_and_its_gradient_are_those_of_libtorch() {
    for p in [0.4, 0.3] {
        let (_lock, generator) = seeded(11);
        let x = || Tensor::arange(256 * 128, FLOAT).view([256, 128]).set_requires_grad(true);
        let (ours, theirs) = (x(), x());
        let out = dropout(p, &generator).forward_t(&ours, true);
        let expected = theirs.dropout(p, true);
        assert_same_bits("dropout", &out, &expected);
        out.sum(Kind::Float).backward();
        expected.sum(Kind::Float).backward();
        assert_same_bits("gradient of dropout", &ours.grad(), &theirs.grad());
    }
}

#[test]
fn the_start_up_check_agrees_on_this_machine() {
    let (_lock, _) = seeded(0);
    assert!(Generator::agrees_with_libtorch());
}

#[test]
fn what_is_drawn_in_isolation_is_put_back() {
    let generator = Generator::new(5);
    let isolated = generator.isolate(|| generator.uniform(1000, 0.0, 1.0));
    assert_eq!(generator.uniform(1000, 0.0, 1.0), isolated);
}
