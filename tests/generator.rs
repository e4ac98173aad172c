//! The generator against libtorch's own draws. libtorch has one generator for the whole process, so every test locks it.

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
const INT64: (Kind, Device) = (Kind::Int64, Device::Cpu);

/// Seeds both generators; libtorch's may be used while the guard lives.
fn seeded(seed: u64) -> (MutexGuard<'static, ()>, Generator) {
    static LIBTORCH: Mutex<()> = Mutex::new(());
    let lock = LIBTORCH.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    (lock, Generator::new(seed))
}

#[derive(Clone, Copy, Debug)]
enum Draw {
    Random(i64),
    Uniform(i64, f64, f64),
    Bernoulli(i64, f64),
    Randperm(i64),
}

/// Draws from both generators, which must give the same.
fn assert_same_draw(what: &str, generator: &Generator, draw: Draw) {
    let (ours, theirs) = match draw {
        Draw::Random(n) => {
            let ours: Vec<i64> = (0..n).map(|_| generator.random() as i64).collect();
            (Tensor::from_slice(&ours), Tensor::zeros([n], INT64).random_())
        }
        Draw::Uniform(n, from, to) => {
            let ours = generator.uniform(n as usize, from, to);
            (Tensor::from_slice(&ours), Tensor::zeros([n], FLOAT).uniform_(from, to))
        }
        Draw::Bernoulli(n, p) => {
            let ours = generator.bernoulli(n as usize, p);
            (Tensor::from_slice(&ours), Tensor::zeros([n], FLOAT).bernoulli_float_(p))
        }
        Draw::Randperm(n) => {
            (Tensor::from_slice(&generator.randperm(n as usize)), Tensor::randperm(n, INT64))
        }
    };
    assert_same_bits(&format!("{draw:?}, {what}"), &ours, &theirs);
}

#[test]
fn every_draw_is_libtorchs() {
    let mut draws = vec![Draw::Random(2000)];
    for (from, to) in [(0.0, 1.0), (-0.0357142857, 0.0357142857), (-0.0625, 0.0625), (3.0, 1e6)] {
        // Sizes below, at and above one block of the state and a vector register.
        draws.extend([1, 15, 16, 17, 623, 624, 625, 200_704].map(|n| Draw::Uniform(n, from, to)));
    }
    for p in [0.6, 0.7, 0.5, 1e-3, 0.0, 1.0] {
        draws.extend([1, 311, 312, 313, 65_536].map(|n| Draw::Bernoulli(n, p)));
    }
    draws.extend([0, 1, 2, 624, 625, 60_000].map(Draw::Randperm));
    for seed in SEEDS {
        for &draw in &draws {
            let (_lock, generator) = seeded(seed);
            assert_same_draw(&format!("seed {seed}"), &generator, draw);
        }
    }
}

#[test]
fn draws_of_all_kinds_after_one_another_stay_libtorchs() {
    let (_lock, generator) = seeded(7);
    for round in 0..50 {
        let n = 100 + 13 * round;
        for draw in [Draw::Uniform(n, -1.0, 1.0), Draw::Randperm(n), Draw::Bernoulli(n, 0.6), Draw::Random(1)]
        {
            assert_same_draw(&format!("round {round}"), &generator, draw);
        }
    }
}

#[test]
fn the_layers_of_the_mlp_start_from_libtorchs_draws() {
    let (_lock, generator) = seeded(3);
    let vs = VarStore::new(Device::Cpu);
    Model::Mlp.build(&vs.root(), &generator).unwrap();
    let variables = vs.variables();
    for (layer, out_features, in_features) in
        [("layer1.1", 256, 784), ("layer2.0", 128, 256), ("_forward.2", 10, 128)]
    {
        // kaiming_uniform_(a=sqrt(5)) gives 1/sqrt(fan_in), except for its last bits.
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
fn dropout_and_its_gradient_are_libtorchs() {
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
        assert_same_draw("after dropout", &generator, Draw::Random(1));
    }
}

#[test]
fn the_start_up_check_agrees_on_this_machine() {
    let (_lock, _) = seeded(0);
    assert!(Generator::agrees_with_libtorch().unwrap());
}

#[test]
fn draws_in_isolation_leave_the_generator_unchanged() {
    let generator = Generator::new(5);
    let isolated = generator.isolate(|| generator.uniform(1000, 0.0, 1.0));
    assert_eq!(generator.uniform(1000, 0.0, 1.0), isolated);
}

#[test]
fn a_restored_state_gives_the_same_draws_wherever_it_was_taken() {
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
fn bytes_that_are_not_a_state_are_refused_and_change_nothing() {
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
