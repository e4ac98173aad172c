//! `--vary`: one source of randomness draws as with another seed, and all others as before.

use crate::common::{Lab, assert_refused, tensors};
use islp_mnist::islp::SimpleDataModule;
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::{DropoutGenerator, Generator, Source};
use islp_mnist::torchvision;
use tch::nn::VarStore;
use tch::{Device, Tensor};

const CHECKPOINT: &str = "checkpoints/last.safetensors";

/// All that a training draws, in the order in which it does: split, initial parameters, and of three steps the sampler's
/// seed and the masks.
fn drawn(generator: &Generator) -> [Vec<f64>; 4] {
    let mnist = torchvision::load("tests/data/fashion-mnist".as_ref(), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, generator).unwrap();
    let vs = VarStore::new(Device::Cpu);
    Model::Mlp.build(&vs.root(), generator).unwrap();
    let values =
        |tensor: &Tensor| Vec::<f64>::try_from(tensor.to_kind(tch::Kind::Double).flatten(0, -1)).unwrap();
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let init = variables.iter().flat_map(|(_, variable)| values(&variable.detach())).collect();
    let (mut shuffle, mut dropout) = (vec![], vec![]);
    for _ in 0..3 {
        shuffle.push(generator.random() as f64);
        dropout.extend(generator.dropout_mask(1000, 0.6).into_iter().map(f64::from));
    }
    [values(data.validation_dataset.indices()), init, shuffle, dropout]
}

#[test]
fn the_varied_source_draws_as_with_the_other_seed_and_all_others_as_before() {
    let base = drawn(&Generator::new(1));
    let other = drawn(&Generator::new(2));
    for (place, source) in Source::ALL.into_iter().enumerate() {
        let generator = Generator::new(1);
        generator.vary(source, 2);
        let varied = drawn(&generator);
        for (kind, name) in Source::ALL.into_iter().enumerate() {
            // The split does not depend on the run's seed.
            let expected = match (kind == place, source) {
                (true, Source::Split) => {
                    assert!(varied[kind] != base[kind], "{source}");
                    continue;
                }
                (true, _) => &other[kind],
                (false, _) => &base[kind],
            };
            assert!(varied[kind] == *expected, "with {source} varied, {name}");
        }
    }
}

#[test]
fn cudas_dropout_varies_alone_too() {
    let [base, other, varied] = [1, 2, 1].map(Generator::new);
    varied.vary(Source::Dropout, 2);
    for generator in [&base, &other, &varied] {
        generator.draw_dropout_from(DropoutGenerator::Cuda);
    }
    let mask = |generator: &Generator| generator.cuda().dropout_mask(1000, 0.6).unwrap();
    assert_eq!(mask(&varied), mask(&other));
    assert_ne!(mask(&varied), mask(&base));
    assert_eq!(varied.uniform(10, -1.0, 1.0), base.uniform(10, -1.0, 1.0));
    assert_eq!(varied.random(), base.random());
}

#[test]
fn with_the_seed_that_it_has_anyway_a_source_changes_nothing() {
    let lab = Lab::new();
    let options = "--seed 5 --epochs 2 --batch-size 32";
    let base = lab.train(options);
    for vary in ["split=0", "init=5", "shuffle=5", "dropout=5"] {
        let run = lab.train(&format!("{options} --vary {vary}"));
        lab.assert_same(&run, &base, vary);
        assert_eq!(lab.run_json(&run)["options"]["vary"], vary);
    }
}

#[test]
fn a_run_with_a_varied_source_that_was_stopped_comes_to_the_same_bytes() {
    let lab = Lab::new();
    let base = lab.train("--epochs 3 --batch-size 32");
    for vary in ["split=4", "init=4", "shuffle=4", "dropout=4", "dropout=4 --generator cuda"] {
        let options = format!("--epochs 3 --batch-size 32 --vary {vary}");
        let whole = lab.train(&options);
        assert!(lab.read(&whole, "metrics.csv") != lab.read(&base, "metrics.csv"), "{vary}");
        let run = lab.train(&format!("{options} --max-time 0s"));
        lab.program(&format!("train --resume {run}")).assert().success();
        lab.assert_same(&run, &whole, vary);
        let checkpoint = tensors(&lab.path().join(&run).join(CHECKPOINT));
        assert_eq!(checkpoint.contains_key("generator.varied.state"), !vary.starts_with("split"), "{vary}");
    }
}

#[test]
fn a_varied_source_is_a_part_of_the_run() {
    let lab = Lab::new();
    let run = lab.train("--epochs 1 --batch-size 32 --vary init=3");
    let resume = |options: &str| lab.program(&format!("train --resume {run} --epochs 2 {options}"));
    assert_refused(&mut resume("--vary init=4"), 2, &["--vary init=4", "init=3"]);
    resume("").assert().success();
    let again = lab.train(&format!("--from {run}/run.json"));
    lab.assert_same(&again, &run, "run again");
    assert_refused(&mut lab.program("train --vary seed=1"), 2, &["--vary", "init=7"]);
}
