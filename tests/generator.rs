//! The generator against libtorch's own draws. libtorch has one generator for the whole process, so every
//! test holds a lock while it uses it.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{assert_same_bits, python, stdout_of};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::nn::dropout;
use islp_mnist::torch::{self, Generator};
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
        for p in [0.6, 0.7, 0.5, 1e-3, 0.0, 1.0] {
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
    Model::Mlp.build(&vs.root(), &generator).unwrap();
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
    // Where nothing or everything is dropped, nothing is drawn.
    for p in [0.4, 0.3, 0.0, 1.0] {
        let (_lock, generator) = seeded(11);
        let x = || Tensor::arange(256 * 128, FLOAT).view([256, 128]).set_requires_grad(true);
        let (ours, theirs) = (x(), x());
        let out = dropout(p, &generator).unwrap().forward_t(&ours, true);
        let expected = theirs.dropout(p, true);
        assert_same_bits("dropout", &out, &expected);
        out.sum(Kind::Float).backward();
        expected.sum(Kind::Float).backward();
        assert_same_bits("gradient of dropout", &ours.grad(), &theirs.grad());
        let next = Tensor::from_slice(&[generator.random() as i64]);
        let their_next = Tensor::zeros([1], (Kind::Int64, Device::Cpu)).random_();
        assert_same_bits("the draw after dropout", &next, &their_next);
    }
}

#[test]
fn the_start_up_check_agrees_on_this_machine() {
    let (_lock, _) = seeded(0);
    assert!(Generator::agrees_with_libtorch().unwrap());
}

#[test]
fn what_is_drawn_in_isolation_is_put_back() {
    let generator = Generator::new(5);
    let isolated = generator.isolate(|| generator.uniform(1000, 0.0, 1.0));
    assert_eq!(generator.uniform(1000, 0.0, 1.0), isolated);
}

#[test]
fn a_state_that_is_put_back_gives_the_same_draws_wherever_it_was_taken() {
    // Newly seeded, at the block's first and last draw, and around its end.
    for draws in [0, 1, 2, 311, 312, 623, 624, 625, 5000] {
        let generator = Generator::new(u64::MAX - 3);
        generator.uniform(draws, 0.0, 1.0);
        let state = generator.get_state();
        let expected = generator.bernoulli(2000, 0.5);
        let other = Generator::new(1);
        other.uniform(77, 0.0, 1.0);
        other.set_state(&state).unwrap();
        assert_eq!(other.bernoulli(2000, 0.5), expected, "after {draws} draws");
    }
}

#[test]
fn bytes_that_are_no_state_are_refused_and_change_nothing() {
    let generator = Generator::new(5);
    generator.random();
    let state = generator.get_state();
    let with = |place: usize, byte: u8| {
        let mut state = state.clone();
        state[place] = byte;
        state
    };
    for (what, bytes) in [
        ("nothing", vec![]),
        ("one byte less", state[..5055].to_vec()),
        ("one byte more", [&state[..], &[0]].concat()),
        ("not seeded", with(12, 0)),
        ("not seeded", with(9, 9)),
        ("a place in the stream that disagrees with what is left", with(16, 3)),
        ("a place beyond the stream", with(23, 1)),
        ("a word of more than 32 bits", with(28, 1)),
    ] {
        let result = generator.set_state(&bytes);
        assert!(matches!(result, Err(torch::Error::GeneratorState(_))), "{what}: {result:?}");
        assert_eq!(generator.get_state(), state, "{what}");
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn states_go_to_python_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
    for draws in [1, 2, 623, 624, 1000] {
        let generator = Generator::new(1 << 40 | 9);
        generator.uniform(draws, 0.0, 1.0);
        std::fs::write(&ours, generator.get_state()).unwrap();
        // Takes our state, draws a thousand times, and saves its own.
        let draw = stdout_of(python("tests/generator_state.py").args([&ours, &theirs]));
        let expected = generator.uniform(1000, 0.0, 1.0);
        assert_eq!(draw.trim(), format!("{} {}", expected[0].to_bits(), expected[999].to_bits()));
        assert_eq!(std::fs::read(&theirs).unwrap(), generator.get_state(), "after {draws} draws");
        let other = Generator::new(0);
        other.set_state(&std::fs::read(&theirs).unwrap()).unwrap();
        assert_eq!(other.random(), generator.random());
    }
}
