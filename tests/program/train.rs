//! `train`: its numbers are Lightning's, its folder and run.json, the lines that it prints, and `--vary`. `study` and
//! `reproduce` print their lines in the same way.

use std::fs;
use std::path::Path;

use crate::common::processes::on_a_terminal;
use crate::common::python::{BOTH, python_output};
use crate::common::{Lab, data_dir, names, output};
use islp_mnist::islp::SimpleDataModule;
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::{DropoutGenerator, Generator, Source};
use islp_mnist::torchvision;
use predicates::Predicate;
use predicates::str::is_match;
use serde_json::{Value, json};
use tch::nn::VarStore;
use tch::{Device, Tensor};

const RUN: &str = "output/MNIST/version_0";

#[test]
#[ignore = "needs the Python reference"]
fn metrics_and_weights_on_mnist_are_lightnings() {
    let lab = Lab::new();
    let mnist = data_dir();
    for options in [
        "--model mlp --epochs 2 --seed 7 --limit-train-batches 0.5",
        "--model mlr --epochs 2 --num-workers 0 --limit-train-batches 60",
        "--model mlp --epochs 3 --num-workers 2 --limit-train-batches 0.1 --batch-size 200",
    ] {
        let options = format!("{options} --data-dir {}", mnist.display());
        let [theirs, ours] = BOTH.map(|side| side.train(&lab, &options));
        lab.assert_same_numbers(&ours, &theirs, &options);
    }
}

/// The numbers in a column of metrics.csv.
fn column(lab: &Lab, run: &str, name: &str) -> Vec<f64> {
    let csv = lab.text(&format!("{run}/metrics.csv"));
    let place = csv.lines().next().unwrap().split(',').position(|it| it == name).unwrap();
    csv.lines().skip(1).filter_map(|row| row.split(',').nth(place)?.parse().ok()).collect()
}

#[test]
fn the_latest_and_the_best_checkpoint_are_kept() {
    let lab = Lab::new();
    for every in [1, 2, 4] {
        // At this rate the validation loss goes up and down.
        let options = "--model mlr --batch-size 16 --lr 0.05 --epochs 7";
        let run = lab.train(&format!("{options} --checkpoint-every {every}"));
        let losses = column(&lab, &run, "valid_loss");
        // The best of all epochs is kept, also of those between checkpoints.
        let best = (0..7).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
        // 320 images make 20 steps an epoch.
        let name = |epoch: usize| format!("epoch={epoch}-step={}.safetensors", 20 * (epoch + 1));
        let mut expected = vec!["best.safetensors".into(), name(best), name(6), "last.safetensors".into()];
        expected.sort();
        expected.dedup();
        let checkpoints = lab.path().join(run).join("checkpoints");
        assert_eq!(names(&checkpoints), expected, "every {every}: {losses:?}");
        assert_eq!(fs::read_link(checkpoints.join("last.safetensors")).unwrap(), Path::new(&name(6)));
        assert_eq!(fs::read_link(checkpoints.join("best.safetensors")).unwrap(), Path::new(&name(best)));
    }
}

#[test]
fn a_checkpoint_has_the_test_results_of_the_weights() {
    let lab = Lab::new();
    let run = lab.train("--epochs 2 --batch-size 16");
    let test = |checkpoint: &str| lab.stdout(&format!("test --json --checkpoint {checkpoint}"));
    let expected = test(&format!("{run}/model.safetensors"));
    assert_eq!(test(&format!("{run}/checkpoints/last.safetensors")), expected);
    assert_eq!(test(&run), expected);
    fs::remove_file(lab.path().join(&run).join("model.safetensors")).unwrap();
    assert_eq!(test(&run), expected);
}

#[test]
fn run_json_records_the_run_and_is_enough_to_repeat_it() {
    let lab = Lab::new();
    let run = lab.train(
        "--model mlr --epochs 3 --batch-size 50 --lr 0.002 --validation 0.3 --seed 18446744073709551615 \
         --num-workers 0 --limit-train-batches 0.9 --vary init=3 --checkpoint-every-n-steps 7 --name mine",
    );
    assert_eq!(run, "output/mine/version_0");
    let record = lab.run_json(&run);
    assert_eq!(
        record["options"],
        json!({
            "model": "mlr", "epochs": 3, "batch_size": 50, "validation": 0.3, "seed": 18446744073709551615u64,
            "num_workers": 0, "lr": 0.002, "threads": 1, "device": "cpu", "generator": "cpu",
            "limit_train_batches": 0.9, "vary": "init=3", "checkpoint_every": 1,
            "checkpoint_every_n_steps": 7, "name": "mine",
        })
    );
    assert_eq!(record["data"].as_object().unwrap().len(), 4);
    assert_eq!(record["environment"]["islp_mnist"], env!("CARGO_PKG_VERSION"));
    assert!(record["environment"]["libtorch"].as_str().unwrap().starts_with("2.13.0"), "{record}");
    assert_eq!(record["outcome"]["epochs"], 3);
    // 280 images make 6 batches, and 0.9 of them 5.
    assert_eq!(record["outcome"]["global_step"], 15);
    let csv = lab.text(&format!("{run}/metrics.csv"));
    let last = csv.lines().last().unwrap();
    for metric in ["train_loss", "train_accuracy_epoch"] {
        let value = record["outcome"]["metrics"][metric].as_f64().unwrap();
        assert!(last.contains(&value.to_string()), "{metric} {value}: {last}");
    }

    let again = lab.train(&format!("--from {run}/run.json"));
    assert_eq!(again, "output/mine/version_1");
    lab.assert_same(&again, &run, "run again");
    assert_eq!(lab.run_json(&again)["options"], record["options"]);
    // An option overrides run.json.
    let other = lab.train(&format!("--from {run}/run.json --seed 1 --name other"));
    assert!(lab.read(&other, "metrics.csv") != lab.read(&run, "metrics.csv"));
    assert_eq!(lab.run_json(&other)["options"]["lr"], 0.002);
}

#[test]
fn run_json_obeys_the_rules_of_the_command_line() {
    let lab = Lab::new();
    let run = lab.train("--epochs 1");
    let record = lab.run_json(&run);
    for (name, value, named) in [
        ("lr", json!(-1), "lr is -1, but must be a number from 0"),
        ("epoch", json!(3), "no option epoch"),
        ("seed", Value::Null, "seed is null, but must be a whole number"),
        ("epochs", json!("many"), "epochs is \"many\", but must be a whole number"),
        ("device", json!("tpu"), "device: must be auto, cpu, cuda"),
        ("vary", json!("init"), "vary: must be split, init"),
        ("limit_train_batches", json!(0), "limit_train_batches: must be a whole number"),
        ("threads", json!(0), "threads is 0, but must be"),
        ("name", json!("a/b"), "name is \"a/b\", but must be a folder name"),
    ] {
        let mut record = record.clone();
        record["options"][name] = value;
        let from = format!("{run}/run.json");
        lab.write(&from, record.to_string());
        lab.assert_refused(&format!("train --from {from}"), 1, &[&from, named]);
    }
}

/// Stdout and the lines of stderr, but for the note that the small data set is not MNIST.
fn printed(lab: &Lab, arguments: &str) -> (String, Vec<String>) {
    let (stdout, stderr) = output(&mut lab.program(arguments));
    (stdout, lines(&stderr, arguments.contains("--quiet")))
}

fn lines(stderr: &str, is_quiet: bool) -> Vec<String> {
    let lines = stderr.lines().filter(|line| is_quiet || !line.starts_with("note: data"));
    lines.map(String::from).collect()
}

/// The lines of epochs.
fn epochs(lines: &[String]) -> Vec<&String> {
    let epochs: Vec<_> = lines.iter().filter(|line| line.starts_with("epoch ")).collect();
    let number = r"\d+\.\d{4}";
    let pattern = format!(
        r"\Aepoch \d+/\d+: train_loss {number}, valid_loss {number}, train_accuracy_epoch {number}, valid_accuracy {number}, (\d+ m )?\d+ s left\z"
    );
    for line in &epochs {
        assert!(is_match(&pattern).unwrap().eval(line.as_str()), "{line}");
    }
    epochs
}

#[test]
fn without_a_terminal_each_epoch_is_a_line_with_the_values_of_metrics_csv() {
    let lab = Lab::new();
    for (options, count) in
        [("--epochs 3 --batch-size 16".to_string(), 3), (format!("--epochs 5 --resume {RUN}"), 2)]
    {
        let (stdout, lines) = printed(&lab, &format!("train {options}"));
        assert_eq!(stdout, format!("{RUN}\n"));
        let epochs = epochs(&lines);
        assert_eq!(epochs.len(), count, "{lines:?}");
        for name in ["train_loss", "valid_loss", "train_accuracy_epoch", "valid_accuracy"] {
            let values = column(&lab, RUN, name);
            for (line, value) in epochs.iter().zip(&values[values.len() - count..]) {
                assert!(line.contains(&format!("{name} {value:.4},")), "{value} in {line}");
            }
        }
        assert!(epochs.last().unwrap().ends_with(", 0 s left"), "{epochs:?}");
        let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
        assert!(place("0         Total Flops") < place("epoch "), "{lines:?}");
        assert!(place("epoch ") < place("`Trainer.fit` stopped"));
    }
    let (_, lines) = printed(&lab, "reproduce --epochs 2 --device cpu");
    let epochs: Vec<_> = epochs(&lines).iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(epochs, ["epoch 1/2", "epoch 2/2", "epoch 1/2", "epoch 2/2"], "of each model");
}

#[test]
fn a_huge_loss_makes_no_long_line_and_max_time_counts_as_time_left() {
    let lab = Lab::new();
    let (_, lines) = printed(&lab, "reproduce --epochs 1 --lr 1e30 --device cpu");
    let line = lines.iter().find(|line| line.starts_with("epoch 1/1: ")).unwrap();
    let pattern = r"(train|valid)_loss (nan|inf|\d\.\d{3}e\+\d\d), ";
    assert!(line.len() < 130 && is_match(pattern).unwrap().eval(line.as_str()), "{line}");
    let (_, lines) = printed(&lab, "train --epochs 9223372036854775807 --max-time 0s");
    assert!(lines.iter().any(|line| line.ends_with(", 0 s left")), "{lines:?}");
}

#[test]
fn quiet_leaves_only_warnings_and_errors() {
    let lab = Lab::new();
    assert_eq!(printed(&lab, "train --epochs 1 --quiet"), (format!("{RUN}\n"), vec![]));
    let reproduce = "reproduce --epochs 1 --device cpu --num-workers 0";
    let (stdout, _) = printed(&lab, reproduce);
    assert_eq!(printed(&lab, &format!("{reproduce} --quiet")), (stdout, vec![]));
    let study = "study --epochs 1 --device cpu --seeds 0..1 --model mlr --quiet --output-dir s";
    let (stdout, lines) = printed(&lab, study);
    assert!(stdout.starts_with("MNIST_MLR, test accuracy over 2 seeds\n"), "{stdout}");
    assert_eq!(lines, Vec::<String>::new());
    // A run.json from another processor.
    let capability = lab.run_json(RUN)["environment"]["cpu_capability"].to_string();
    let run_json = lab.text(&format!("{RUN}/run.json")).replace(&capability, "\"Z80\\u001b[31m\"");
    lab.write(&format!("{RUN}/run.json"), run_json);
    let (_, lines) = printed(&lab, &format!("train --quiet --epochs 1 --from {RUN}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("warning: CPU capability was Z80\\u{1b}[31m and is "), "{lines:?}");
    lab.assert_refused("train --quiet --lr 1e30", 3, &["--lr"]);
}

#[test]
fn each_run_of_a_study_is_a_line_and_its_logs_are_short() {
    let lab = Lab::new();
    let study =
        |options: &str| printed(&lab, &format!("study --epochs 1 --device cpu --output-dir {options}")).1;
    let lines = study("s --seeds 0..1");
    let pattern =
        r"\Arun \d/4, ml[pr] seed=[01]: valid_accuracy 0\.\d{4}, test_accuracy 0\.\d{4}, \d+ s left\z";
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (i, line) in lines[..4].iter().enumerate() {
        assert!(is_match(pattern).unwrap().eval(line.as_str()), "{line}");
        assert!(line.starts_with(&format!("run {}/4, ", i + 1)), "{line}");
    }
    assert_eq!(lines[4], "4 runs are in s/study.csv");
    assert_eq!(lab.text("s/runs/mlp/seed=0/log.txt"), "");
    // Finished runs are counted, but have no line.
    let lines = study("s --seeds 0..2 --model mlr");
    assert!(lines.len() == 2 && lines[0].starts_with("run 3/3, mlr seed=2: "), "{lines:?}");
    let lines = study("d --seeds 9 --model mlp --lr 1e30");
    assert!(lines[0].starts_with("run 1/1, mlp seed=9: diverged, 0 s left"), "{lines:?}");
}

#[test]
fn a_terminal_shows_a_bar_or_lines_or_nothing() {
    let lab = Lab::new();
    let shown = |arguments: &str| on_a_terminal(lab.path(), arguments);
    // The first loss is read after 50 steps.
    let bar = shown("reproduce --epochs 10 --batch-size 8");
    let draws = |pattern: &str| is_match(pattern).unwrap().eval(&bar);
    assert!(draws(r"epoch 1/10 .* step \d+/400, \d+\w+ left"), "before the first loss: {bar:?}");
    assert!(draws(r"step \d+/400, loss \d+\.\d{4}, valid_accuracy 0\.\d{4}, \d+\w+ left"), "{bar:?}");
    assert!(!bar.contains(", ,"), "{bar:?}");
    assert!(!shown("reproduce --epochs 1 --no-progress").contains("step "));
    assert!(!output(&mut lab.program("reproduce --epochs 1")).1.contains("step "), "no bar in a file");

    for (options, count) in [("", 0), ("--no-progress", 2)] {
        let lines = shown(&format!("train --epochs 2 {options}"));
        assert_eq!(lines.lines().filter(|line| line.contains("train_accuracy_epoch")).count(), count);
    }
    assert_eq!(shown("train --epochs 2 --quiet"), "");
    let study =
        |options: &str| shown(&format!("study --epochs 1 --seeds 0 --model mlr --device cpu {options}"));
    assert!(study("--no-progress --output-dir a").contains("run 1/1, mlr seed=0: "));
    assert!(!study("--output-dir b").contains("run 1/1, mlr"));
    assert_eq!(study("--quiet --output-dir c"), "");
}

#[test]
#[ignore = "needs the Python reference"]
fn python_prints_the_same_lines_and_is_as_quiet() {
    let lab = Lab::new();
    let python = |options: &str| lines(&python_output(lab.path(), "scripts/train.py", options).1, true);
    let without_time = |lines: &[String]| -> Vec<String> {
        epochs(lines).into_iter().map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect()
    };
    let options = "--epochs 3 --batch-size 16 --num-workers 0";
    let ours = printed(&lab, &format!("train {options}")).1;
    assert_eq!(without_time(&python(options)), without_time(&ours));
    assert!(epochs(&ours).len() == 3);
    let ours = printed(&lab, &format!("train --resume {RUN} --epochs 5")).1;
    let theirs = python("--resume output/MNIST/version_1 --epochs 5 --no-progress");
    assert_eq!(without_time(&theirs), without_time(&ours));
    assert!(epochs(&theirs).last().unwrap().ends_with(", 0 s left"), "{theirs:?}");
    // Warnings of the libraries stay.
    let quiet = python("--epochs 1 --quiet --num-workers 0");
    for start in ["epoch ", "GPU available", "Seed set", "  | Name", "`Trainer.fit`", "0 "] {
        assert!(!quiet.iter().any(|line| line.starts_with(start)), "{start}: {quiet:?}");
    }
}

/// All random numbers of a training in their order: split, initial parameters, and the sampler's seed and the masks of
/// three steps.
fn drawn(generator: &Generator) -> [Vec<f64>; 4] {
    let mnist = torchvision::load("tests/data/fashion-mnist", Device::Cpu).unwrap();
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
fn a_varied_source_draws_as_with_the_other_seed_and_the_others_as_before() {
    let (base, other) = (drawn(&Generator::new(1)), drawn(&Generator::new(2)));
    for (place, source) in Source::ALL.into_iter().enumerate() {
        let generator = Generator::new(1);
        generator.vary(source, 2);
        let varied = drawn(&generator);
        for (kind, name) in Source::ALL.into_iter().enumerate() {
            if (kind, source) == (place, Source::Split) {
                // The split does not depend on the run's seed.
                assert!(varied[kind] != base[kind], "{source}");
            } else {
                let expected = if kind == place { &other } else { &base };
                assert!(varied[kind] == expected[kind], "with {source} varied, {name}");
            }
        }
    }
}

#[test]
fn the_dropout_of_cuda_varies_alone_too() {
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
fn a_source_that_is_varied_to_its_own_seed_changes_nothing() {
    let lab = Lab::new();
    let options = "--seed 5 --epochs 2 --batch-size 32";
    let base = lab.train(options);
    assert_eq!(lab.run_json(&base)["options"].get("vary"), Some(&Value::Null));
    for vary in ["split=0", "init=5", "shuffle=5", "dropout=5"] {
        let run = lab.train(&format!("{options} --vary {vary}"));
        lab.assert_same(&run, &base, vary);
        assert_eq!(lab.run_json(&run)["options"]["vary"], vary);
    }
    lab.assert_refused("train --vary seed=1", 2, &["--vary", "init=7"]);
}
