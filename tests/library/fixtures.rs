//! The library against what torch, ISLP and Lightning came to, on fixtures that tests/fixtures/make.py has made with
//! them: so a number that is no longer Python's is seen without Python.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::{checkout, idx, islp_mnist, python, sha256, stdout_of, tensors, write_small_mnist};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tch::nn::{ModuleT, VarStore};
use tch::vision::dataset::Dataset;
use tch::{Device, Kind, Tensor, no_grad};
use tempfile::tempdir;

use islp_mnist::internals::EpochMetrics;
use islp_mnist::islp::{Metrics, SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{Checkpoint, CsvLogger, ModelCheckpoint, Trainer};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torch::data::DataLoader;
use islp_mnist::torch::libtorch::cpu_capability;
use islp_mnist::torch::nn::{Layer, LayerInfo, dropout};
use islp_mnist::torch::optim::RmsProp;
use islp_mnist::torchvision;

fn folder() -> PathBuf {
    checkout().join("tests/fixtures")
}

/// What is in a JSON file of the fixtures.
fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = folder().join(format!("{name}.json"));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is in there for the kernels that libtorch takes on this processor: those of AVX-512 come to what AVX2's do.
fn fixture_for_this_processor<T: DeserializeOwned>(name: &str) -> T {
    let capability = if cpu_capability() == "DEFAULT" { "default" } else { "avx2" };
    let mut all: BTreeMap<String, BTreeMap<String, Value>> = fixture("by_capability");
    serde_json::from_value(all.get_mut(capability).unwrap().remove(name).unwrap()).unwrap()
}

fn sha256_of<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> String {
    sha256(&values.iter().flat_map(|&value| to_bytes(value)).collect::<Vec<u8>>())
}

fn sha256_of_floats(values: &[f32]) -> String {
    sha256_of(values, f32::to_le_bytes)
}

fn state_of(generator: &Generator) -> String {
    sha256(&generator.get_state())
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
}

fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn from_bits(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|&bits| f32::from_bits(bits)).collect()
}

/// Fails at the first element that differs, and says which.
fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &[T], theirs: &[T]) {
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours, theirs, "{what}: number {i}, ours and then Python's");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}: not as many as in Python");
}

fn dataset(images: &Tensor, labels: &[i64], n_train: i64) -> Dataset {
    let labels = Tensor::from_slice(labels);
    let n_test = labels.size()[0] - n_train;
    Dataset {
        train_images: images.narrow(0, 0, n_train),
        train_labels: labels.narrow(0, 0, n_train),
        test_images: images.narrow(0, n_train, n_test),
        test_labels: labels.narrow(0, n_train, n_test),
        labels: 10,
    }
}

// The generator

#[derive(Deserialize)]
struct Stream {
    seed: u64,
    draws: Vec<Draw>,
}

#[derive(Deserialize)]
struct Draw {
    kind: String,
    n: usize,
    parameters: Vec<f64>,
    /// Bits, of floats.
    first: Vec<i64>,
    sha256: String,
    state: String,
}

#[test]
fn every_kind_of_draw_and_the_state_after_it_are_torchs() {
    for Stream { seed, draws } in fixture::<Vec<Stream>>("generator") {
        let generator = Generator::new(seed);
        for (i, Draw { kind, n, parameters, first, sha256, state }) in draws.into_iter().enumerate() {
            let what = format!("seed {seed}, draw {i}, {n} of {kind} {parameters:?}");
            let of_floats = |values: Vec<f32>| {
                let first = bits(&values).into_iter().map(i64::from).collect();
                (first, sha256_of_floats(&values))
            };
            let of_integers = |values: Vec<i64>| {
                let sha256 = sha256_of(&values, i64::to_le_bytes);
                (values, sha256)
            };
            let (mut ours, our_sha256): (Vec<i64>, String) = match kind.as_str() {
                "uniform" => of_floats(generator.uniform(n, parameters[0], parameters[1])),
                "bernoulli" => of_floats(generator.bernoulli(n, parameters[0])),
                "randperm" => of_integers(generator.randperm(n)),
                "random" => of_integers((0..n).map(|_| generator.random() as i64).collect()),
                kind => panic!("{kind}?"),
            };
            ours.truncate(5);
            assert_same(&what, &ours, &first);
            assert_eq!(our_sha256, sha256, "{what}: not the first five, but others differ");
            assert_eq!(state_of(&generator), state, "{what}: the state after it");
        }
    }
}

#[test]
fn states_that_torch_has_saved_are_gone_on_from() {
    let bytes = fs::read(folder().join("states.safetensors")).unwrap();
    let states = SafeTensors::deserialize(&bytes).unwrap();
    let following: BTreeMap<String, Vec<u64>> = fixture("states");
    assert_eq!(states.len(), following.len());
    for (name, numbers) in following {
        let generator = Generator::new(1);
        generator.set_state(states.tensor(&name).unwrap().data()).unwrap();
        let ours: Vec<u64> = numbers.iter().map(|_| generator.random()).collect();
        assert_eq!(ours, numbers, "after {name}");
    }
    for (name, draws) in [("one_draw", 1), ("whole_block", 624)] {
        let generator = Generator::new(1 << 40 | 9);
        generator.uniform(draws, 0.0, 1.0);
        assert!(generator.get_state() == states.tensor(name).unwrap().data(), "the bytes after {name}");
    }
}

// Layers and models

#[derive(Deserialize)]
struct DropoutCase {
    seed: u64,
    p: f64,
    shape: Vec<i64>,
    dropped: Vec<i64>,
    ones_sha256: String,
    numbers_sha256: String,
    state: String,
}

#[test]
fn dropout_drops_what_torch_drops_and_scales_as_it_does() {
    for case in fixture::<Vec<DropoutCase>>("dropout") {
        let DropoutCase { seed, p, shape, dropped, ones_sha256, numbers_sha256, state } = case;
        let what = format!("p {p}, shape {shape:?}, seed {seed}");
        let generator = Generator::new(seed);
        generator.uniform(1, 0.0, 1.0);
        let dropout = dropout(p, &generator).unwrap();
        let float = (Kind::Float, Device::Cpu);
        let ones = floats(&dropout.forward_t(&Tensor::ones(&shape, float), true));
        let zeros = (0..).zip(&ones).filter(|(_, value)| **value == 0.0).map(|(i, _)| i);
        assert_eq!(zeros.take(20).collect::<Vec<i64>>(), dropped, "{what}: what is dropped first");
        assert_eq!(sha256_of_floats(&ones), ones_sha256, "{what}: what becomes of 1");
        let numbers = Tensor::arange(ones.len() as i64, float).view(&shape[..]) / 8.0 - 100.0;
        let numbers = floats(&dropout.forward_t(&numbers, true));
        assert_eq!(sha256_of_floats(&numbers), numbers_sha256, "{what}: what becomes of other numbers");
        assert_eq!(state_of(&generator), state, "{what}: the state after it");
    }
}

#[derive(Deserialize)]
struct InitCase {
    model: Model,
    seed: u64,
    parameters: BTreeMap<String, InitParameter>,
    state: String,
}

#[derive(Debug, Deserialize)]
struct InitParameter {
    sha256: String,
    first: Vec<u32>,
}

#[test]
fn the_models_start_from_torchs_parameters() {
    for InitCase { model, seed, parameters, state } in fixture_for_this_processor::<Vec<InitCase>>("init") {
        let generator = Generator::new(seed);
        let vs = VarStore::new(Device::Cpu);
        model.build(&vs.root(), &generator).unwrap();
        let ours = vs.variables();
        assert_eq!(ours.len(), parameters.len());
        for (name, InitParameter { sha256, first }) in parameters {
            let values = floats(&ours[&name]);
            let what = format!("{model:?}, seed {seed}, {name}");
            assert_same(&what, &bits(&values[..3]), &first);
            assert_eq!(sha256_of_floats(&values), sha256, "{what}: not the first three, but others differ");
        }
        assert_eq!(state_of(&generator), state, "{model:?}, seed {seed}: the state after it");
    }
}

// The optimizer

#[derive(Deserialize)]
struct RmsPropSteps {
    gradient: Vec<u32>,
    start: Vec<u32>,
    steps: Vec<RmsPropStep>,
}

#[derive(Deserialize)]
struct RmsPropStep {
    factor: u32,
    square_avg: Vec<u32>,
    /// The parameters where no root of the average shows in them.
    x: Vec<u32>,
}

#[test]
fn rmsprops_averages_are_torchs_and_so_are_parameters_beside_which_they_do_not_show() {
    let RmsPropSteps { gradient, start, steps } = fixture_for_this_processor("rmsprop");
    let gradient = Tensor::from_slice(&from_bits(&gradient));
    let vs = VarStore::new(Device::Cpu);
    let x = vs.root().var_copy("x", &Tensor::from_slice(&from_bits(&start)));
    let mut optimizer = RmsProp::new(&vs, 0.01).unwrap();
    for (i, RmsPropStep { factor, square_avg, x: theirs }) in steps.into_iter().enumerate() {
        optimizer.step(&[&gradient * Tensor::from(f32::from_bits(factor))]).unwrap();
        let (_, ours) = optimizer.square_avg().next().unwrap();
        assert_same(&format!("step {i}, square_avg"), &bits(&floats(ours)), &square_avg);
        assert_same(&format!("step {i}, x"), &bits(&floats(&x)[..theirs.len()]), &theirs);
    }
}

// The data

#[derive(Deserialize)]
struct SplitCase {
    count: i64,
    fraction: f64,
    train: Indices,
    validation: Indices,
}

#[derive(Deserialize)]
struct Indices {
    len: usize,
    sha256: String,
    all: Option<Vec<i64>>,
    /// The first twenty and the last twenty.
    ends: Option<Vec<i64>>,
}

#[test]
fn the_split_is_islps() {
    for SplitCase { count, fraction, train, validation } in fixture::<Vec<SplitCase>>("split") {
        let images = Tensor::zeros([count + 1, 1], (Kind::Float, Device::Cpu));
        let dataset = dataset(&images, &vec![0; count as usize + 1], count);
        let data = SimpleDataModule::new(&dataset, fraction, 0, 256, &Generator::new(5)).unwrap();
        for (name, ours, theirs) in
            [("train", &data.train_dataset, train), ("validation", &data.validation_dataset, validation)]
        {
            let what = format!("{fraction} of {count}, {name}");
            let ours = integers(ours.indices());
            assert_eq!(ours.len(), theirs.len, "{what}");
            if let Some(all) = theirs.all {
                assert_same(&what, &ours, &all);
            }
            if let Some(ends) = theirs.ends {
                assert_same(&what, &[&ours[..20], &ours[ours.len() - 20..]].concat(), &ends);
            }
            assert_eq!(sha256_of(&ours, i64::to_le_bytes), theirs.sha256, "{what}: in the middle");
        }
    }
}

#[test]
fn pixels_become_torchvisions_floats() {
    let folder = tempdir().unwrap();
    let raw = folder.path().join("MNIST/raw");
    fs::create_dir_all(&raw).unwrap();
    let pixels: Vec<u8> = (0..28 * 28).map(|pixel| (pixel % 256) as u8).collect();
    for set in ["train", "t10k"] {
        fs::write(raw.join(format!("{set}-images-idx3-ubyte")), idx(&[1, 28, 28], &pixels)).unwrap();
        fs::write(raw.join(format!("{set}-labels-idx1-ubyte")), idx(&[1], &[7])).unwrap();
    }
    let mnist = torchvision::load(folder.path(), Device::Cpu).unwrap();
    for images in [&mnist.train_images, &mnist.test_images] {
        assert_same(
            "the pixels from 0 to 255",
            &bits(&floats(images)[..256]),
            &fixture::<Vec<u32>>("to_tensor"),
        );
    }
}

#[derive(Deserialize)]
struct LoadersCase {
    num_workers: usize,
    batches: Vec<String>,
}

#[test]
fn loaders_yield_and_draw_what_torchs_do_without_a_trainer() {
    let Fits { n_train, labels, .. } = fixture("fit");
    for LoadersCase { num_workers, batches } in fixture::<Vec<LoadersCase>>("loaders") {
        let generator = Generator::new(11);
        let dataset = dataset(&images(labels.len(), 1.0), &labels, n_train);
        let data = SimpleDataModule::new(&dataset, 0.2, num_workers, 50, &generator).unwrap();
        let mut ours = vec![];
        let mut iterate = |name: &str, dataloader: &mut DataLoader, limit: usize| {
            for batch in dataloader.iter().unwrap().take(limit) {
                let (images, _) = batch.unwrap();
                ours.push(format!("{name} {}", forward(&images, &generator)));
            }
        };
        let (mut train, mut val) = (data.train_dataloader(), data.val_dataloader());
        iterate("train", &mut train, 9);
        iterate("train", &mut train, 9);
        iterate("val", &mut val, 9);
        iterate("val", &mut val, 9);
        iterate("fresh train", &mut data.train_dataloader(), 2);
        iterate("fresh test", &mut data.test_dataloader(), 1);
        iterate("train", &mut train, 9);
        assert_same(&format!("{num_workers} workers"), &ours, &batches);
    }
}

// Metrics

#[derive(Deserialize)]
struct AccuracyCase {
    logits: Vec<Vec<Option<f32>>>,
    labels: Vec<i64>,
    accuracy: u32,
}

#[test]
fn the_accuracy_of_a_batch_is_torchmetrics() {
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlr.build(&vs.root(), &Generator::new(0)).unwrap();
    let module = SimpleModule::classification(model, vs, 0.01).unwrap();
    for AccuracyCase { logits, labels, accuracy } in fixture::<Vec<AccuracyCase>>("accuracy") {
        let values: Vec<f32> = logits.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
        let (logits, labels) = (Tensor::from_slice(&values).view([-1, 10]), Tensor::from_slice(&labels));
        let ours = f32::try_from(module.accuracy(&logits, &labels).unwrap()).unwrap();
        assert_eq!(ours, f32::from_bits(accuracy), "of {} images", labels.numel());
        let mut metrics = EpochMetrics::default();
        metrics.update(&Tensor::from(1f32), &logits, labels);
        assert_eq!(metrics.drain().unwrap()[0].accuracy, f32::from_bits(accuracy), "of a training step");
    }
}

#[derive(Deserialize)]
struct MeansCase {
    batch_size: i64,
    last_batch: i64,
    losses: Vec<u32>,
    corrects: Vec<i64>,
    accuracies: Vec<u32>,
    train_loss: u32,
    train_accuracy_epoch: u32,
}

#[test]
fn the_means_of_an_epoch_are_lightnings() {
    for case in fixture::<Vec<MeansCase>>("means") {
        let mut metrics = EpochMetrics::default();
        let mut steps = vec![];
        for (i, (&loss, &correct)) in case.losses.iter().zip(&case.corrects).enumerate() {
            let is_last = i == case.losses.len() - 1;
            let n = if is_last { case.last_batch } else { case.batch_size };
            // All are taken for a 0.
            let logits = Tensor::eye(10, (Kind::Float, Device::Cpu)).narrow(0, 0, 1).repeat([n, 1]);
            let labels = Tensor::arange(n, (Kind::Int64, Device::Cpu)).ge(correct).to_kind(Kind::Int64);
            metrics.update(&Tensor::from(f32::from_bits(loss)), &logits, labels);
            if i % 50 == 49 || is_last {
                steps.extend(metrics.drain().unwrap());
            }
        }
        let of_steps = |value: fn(&Metrics) -> f32| bits(&steps.iter().map(value).collect::<Vec<_>>());
        assert_same("losses", &of_steps(|step| step.loss), &case.losses);
        assert_same("accuracies", &of_steps(|step| step.accuracy), &case.accuracies);
        let Metrics { loss, accuracy } = metrics.compute();
        assert_eq!(loss, f32::from_bits(case.train_loss), "train_loss");
        assert_eq!(accuracy, f32::from_bits(case.train_accuracy_epoch), "train_accuracy_epoch");
    }
}

// metrics.csv

#[derive(Deserialize)]
struct Save {
    rows: Vec<Row>,
    metrics_csv: String,
}

#[derive(Deserialize)]
struct Row {
    epoch: usize,
    step: usize,
    metrics: Vec<(String, u32)>,
}

#[test]
fn metrics_csv_is_lightnings_to_the_byte_whatever_is_logged() {
    let folder = tempdir().unwrap();
    let mut logger = CsvLogger::new(folder.path(), "run").unwrap();
    for (i, Save { rows, metrics_csv }) in fixture::<Vec<Save>>("csv_logger").into_iter().enumerate() {
        for Row { epoch, step, metrics } in rows {
            let metrics: Vec<_> =
                metrics.iter().map(|(name, bits)| (name.as_str(), f32::from_bits(*bits))).collect();
            logger.log_metrics(&metrics, epoch, step);
        }
        logger.save().unwrap();
        assert_same_text(&format!("save {i}"), &read(&logger.metrics_file_path()), &metrics_csv);
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn assert_same_text(what: &str, ours: &str, theirs: &str) {
    let lines = |text: &str| text.split_inclusive('\n').map(String::from).collect::<Vec<_>>();
    assert_same(what, &lines(ours), &lines(theirs));
}

// Training

#[derive(Deserialize)]
struct Fits {
    n_train: i64,
    scores: Vec<Vec<f32>>,
    labels: Vec<i64>,
    fits: Vec<Fit>,
}

#[derive(Deserialize)]
struct Fit {
    case: Case,
    /// Of every forward pass the mode, the images, and the generator's state before it.
    forwards: Vec<String>,
    epoch_states: Vec<String>,
    state_after_test: String,
    metrics_csv_after_fit: String,
    metrics_csv: String,
}

#[derive(Debug, Deserialize)]
struct Case {
    model: Model,
    seed: u64,
    num_workers: usize,
    batch_size: usize,
    epochs: usize,
    limit_train_batches: Option<Value>,
}

/// Image i is white in pixel i and black elsewhere.
fn images(count: usize, white: f64) -> Tensor {
    let images = Tensor::eye(28 * 28, (Kind::Float, Device::Cpu)).narrow(0, 0, count as i64);
    (images * white).view([-1, 1, 28, 28])
}

/// Which images they are, and the generator's state, as in make.py.
fn forward(images: &Tensor, generator: &Generator) -> String {
    let ids: Vec<String> =
        integers(&images.flatten(1, -1).argmax(1, false)).iter().map(i64::to_string).collect();
    format!("{} @{}", ids.join(" "), &state_of(generator)[..8])
}

/// A model that takes down what goes through it.
#[derive(Debug)]
struct Recorder {
    model: Box<dyn Layer>,
    generator: Generator,
    forwards: Arc<Mutex<Vec<String>>>,
}

impl ModuleT for Recorder {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        let mode = if train { "train" } else { "eval" };
        self.forwards.lock().unwrap().push(format!("{mode} {}", forward(xs, &self.generator)));
        self.model.forward_t(xs, train)
    }
}

impl Layer for Recorder {
    fn info(&self) -> LayerInfo {
        self.model.info()
    }
}

/// Everything that a fit takes besides the trainer, newly made.
struct Setting {
    generator: Generator,
    data: SimpleDataModule,
    module: SimpleModule,
}

impl Setting {
    fn new(case: &Case, seed: u64, dataset: &Dataset, lr: f64, forwards: &Arc<Mutex<Vec<String>>>) -> Self {
        // The tests run at the same time, and their threads would wait for one another.
        tch::set_num_threads(1);
        let generator = Generator::new(seed);
        let data =
            SimpleDataModule::new(dataset, 0.2, case.num_workers, case.batch_size, &generator).unwrap();
        let vs = VarStore::new(Device::Cpu);
        let model = case.model.build(&vs.root(), &generator).unwrap();
        let model = Recorder { model, generator: generator.clone(), forwards: forwards.clone() };
        let module = SimpleModule::classification(Box::new(model), vs, lr).unwrap();
        Self { generator, data, module }
    }

    /// `exact_model` in make.py.
    fn take_scores(&self, model: Model, scores: &[Vec<f32>]) {
        let scores = Tensor::from_slice(&scores.concat()).view([-1, 10]).transpose(0, 1);
        let float = (Kind::Float, Device::Cpu);
        let mut parameters = self.module.vs.variables();
        let mut set = |name: &str, values: &Tensor| {
            let parameter = parameters.get_mut(name).unwrap();
            let mut part = values
                .size()
                .into_iter()
                .enumerate()
                .fold(parameter.shallow_clone(), |part, (d, n)| part.narrow(d as i64, 0, n));
            part.copy_(values);
        };
        no_grad(|| {
            for parameter in self.module.vs.variables().values_mut() {
                let _ = parameter.zero_();
            }
            match model {
                Model::Mlr => set("linear.1.weight", &(scores * 128.0)),
                Model::Mlp => {
                    set("layer1.1.weight", &(scores * 4096.0));
                    set(
                        "layer2.0.weight",
                        &Tensor::from_slice(&[[1f32; 7].as_slice(), &[-1.0; 3]].concat()).diag(0),
                    );
                    set("_forward.2.weight", &Tensor::eye(10, float));
                    set("_forward.2.bias", &(Tensor::arange(10, float) * 128.0));
                }
            }
        });
    }

    fn trainer(&self, case: &Case, logger: CsvLogger) -> Trainer {
        let mut trainer = Trainer::new(case.epochs, logger, &self.generator);
        if let Some(limit) = &case.limit_train_batches {
            trainer.limit_train_batches = limit.to_string().parse().unwrap();
        }
        trainer
    }
}

#[test]
fn fits_whole_or_resumed_after_any_epoch_forward_draw_and_log_what_lightnings_do() {
    let Fits { n_train, scores, labels, fits } = fixture("fit");
    let dataset = dataset(&images(labels.len(), 1.0), &labels, n_train);
    let mut square_avgs = fixture_for_this_processor::<Vec<String>>("square_avg").into_iter();
    for fit in fits {
        let case = &fit.case;
        let square_avg = if case.model == Model::Mlr { square_avgs.next() } else { None };
        for stop in 1..=case.epochs {
            let what = format!("{case:?}, stopped after {stop}");
            let folder = tempdir().unwrap();
            let forwards = Arc::default();
            let mut setting = Setting::new(case, case.seed, &dataset, 0.0, &forwards);
            setting.take_scores(case.model, &scores);
            let logger = CsvLogger::new(folder.path(), "fit").unwrap();
            let log_dir = logger.log_dir().to_path_buf();
            let mut trainer = setting.trainer(case, logger);
            trainer.max_epochs = stop;
            trainer.checkpoint = Some(ModelCheckpoint::new(&log_dir, 1, &()).unwrap());
            trainer.fit(&mut setting.module, &setting.data).unwrap();
            let last = &tensors(&log_dir.join("checkpoints/last.safetensors"))["generator.state"];
            let saved = sha256(&Vec::<u8>::try_from(last).unwrap());
            assert_eq!(saved, fit.epoch_states[stop - 1], "{what}: the generator's state in the checkpoint");

            if stop < case.epochs {
                // What it had logged after the checkpoint must go, as when a run has died.
                fs::write(log_dir.join("metrics.csv"), &fit.metrics_csv_after_fit).unwrap();
                // Of another seed and other weights, so that all comes from the checkpoint.
                setting = Setting::new(case, 999, &dataset, 0.0, &forwards);
                let checkpoint = Checkpoint::last(&log_dir).unwrap().unwrap();
                let state = &checkpoint.state;
                let logger = CsvLogger::resume(&log_dir, state.epoch + 1, &state.metrics_sha256).unwrap();
                trainer = setting.trainer(case, logger);
                trainer.resume(&checkpoint, &mut setting.module).unwrap();
                trainer.fit(&mut setting.module, &setting.data).unwrap();
            }
            let metrics_csv = log_dir.join("metrics.csv");
            assert_same_text(&what, &read(&metrics_csv), &fit.metrics_csv_after_fit);
            trainer.test(&setting.module, &setting.data).unwrap();
            assert_same(&what, &forwards.lock().unwrap(), &fit.forwards);
            assert_same_text(&what, &read(&metrics_csv), &fit.metrics_csv);
            assert_eq!(state_of(&setting.generator), fit.state_after_test, "{what}: the state after test");
            if let Some(square_avg) = &square_avg {
                let (_, ours) = setting
                    .module
                    .optimizer
                    .square_avg()
                    .find(|(name, _)| *name == "linear.1.weight")
                    .unwrap();
                assert_eq!(&sha256_of_floats(&floats(ours)), square_avg, "{what}: RMSprop's square_avg");
            }
        }
    }
}

#[derive(Deserialize)]
struct Faint {
    case: Case,
    white: f64,
    lr: f64,
    /// Of the first twenty images.
    weight: Vec<u32>,
    sha256: String,
}

#[test]
fn a_fit_moves_the_weights_to_where_lightning_moves_them() {
    let Fits { n_train, labels, .. } = fixture("fit");
    let Faint { case, white, lr, weight, sha256 } = fixture("faint");
    let folder = tempdir().unwrap();
    let dataset = dataset(&images(labels.len(), white), &labels, n_train);
    let mut setting = Setting::new(&case, case.seed, &dataset, lr, &Arc::default());
    let mut parameters = setting.module.vs.variables();
    no_grad(|| {
        let _ = parameters.get_mut("linear.1.weight").unwrap().zero_();
        let bias = Tensor::arange(10, (Kind::Float, Device::Cpu)) * 128.0;
        parameters.get_mut("linear.1.bias").unwrap().copy_(&bias);
    });
    let logger = CsvLogger::new(folder.path(), "faint").unwrap();
    setting.trainer(&case, logger).fit(&mut setting.module, &setting.data).unwrap();
    let ours = &parameters["linear.1.weight"];
    assert_same("weights", &bits(&floats(&ours.narrow(1, 0, 20))), &weight);
    assert_eq!(sha256_of_floats(&floats(ours)), sha256, "weights");
}

// The programs

#[derive(Deserialize)]
struct Programs {
    small_mnist: SmallMnist,
    reproduce: Vec<Reproduce>,
    train: Vec<Train>,
}

#[derive(Deserialize)]
struct SmallMnist {
    train: usize,
    test: usize,
}

#[derive(Deserialize)]
struct Reproduce {
    options: Vec<String>,
    #[serde(rename = "MNIST")]
    mnist: BTreeMap<String, String>,
    #[serde(rename = "MNIST_MLR")]
    mnist_mlr: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Train {
    options: Vec<String>,
    name: String,
    weights: BTreeMap<String, String>,
    state: String,
}

fn at_learning_rate_0(command: &str, options: &[String], folder: &Path) -> Command {
    let mut program = islp_mnist();
    program.current_dir(folder).env("OMP_NUM_THREADS", "1").arg(command).args(options);
    program.args(["--lr", "0", "--device", "cpu", "--output-dir", "output"]);
    program
}

fn assert_weights(what: &str, version_dir: &Path, theirs: &BTreeMap<String, String>) {
    let ours = tensors(&version_dir.join("model.safetensors"));
    let ours: BTreeMap<_, _> =
        ours.iter().map(|(name, tensor)| (name.clone(), sha256_of_floats(&floats(tensor)))).collect();
    assert_eq!(&ours, theirs, "{what}: the weights that were drawn");
}

#[test]
fn reproduce_draws_as_much_as_the_notebook_before_each_model() {
    let Programs { small_mnist, reproduce, .. } = fixture_for_this_processor("programs");
    for Reproduce { options, mnist, mnist_mlr } in reproduce {
        let folder = tempdir().unwrap();
        write_small_mnist(&folder.path().join("data"), small_mnist.train, small_mnist.test);
        stdout_of(&mut at_learning_rate_0("reproduce", &options, folder.path()));
        let version_dir = |name| folder.path().join("output").join(name).join("version_0");
        assert_weights(&format!("{options:?}, MNISTModel"), &version_dir("MNIST"), &mnist);
        assert_weights(&format!("{options:?}, MNIST_MLR"), &version_dir("MNIST_MLR"), &mnist_mlr);
    }
}

#[test]
fn train_draws_what_lightning_draws() {
    let Programs { small_mnist, train, .. } = fixture_for_this_processor("programs");
    for Train { options, name, weights, state } in train {
        let folder = tempdir().unwrap();
        write_small_mnist(&folder.path().join("data"), small_mnist.train, small_mnist.test);
        stdout_of(&mut at_learning_rate_0("train", &options, folder.path()));
        let version_dir = folder.path().join("output").join(name).join("version_0");
        assert_weights(&format!("{options:?}"), &version_dir, &weights);
        let last = &tensors(&version_dir.join("checkpoints/last.safetensors"))["generator.state"];
        let ours = sha256(&Vec::<u8>::try_from(last).unwrap());
        assert_eq!(ours, state, "{options:?}: the generator's state at the end");
    }
}

#[test]
#[ignore = "needs the Python reference, which scripts/test.sh sets up and runs this with"]
fn the_fixtures_are_what_python_makes_today() {
    let made = tempdir().unwrap();
    stdout_of(python("tests/fixtures/make.py").arg(made.path()));
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.filter(|name| name != "make.py").collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder()), names(made.path()));
    for name in names(made.path()) {
        let [committed, made] = [&folder(), made.path()].map(|folder| fs::read(folder.join(&name)).unwrap());
        assert!(committed == made, "{name:?} is not what tests/fixtures/make.py makes");
    }
}
