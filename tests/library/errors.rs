//! The library for other programs: unusable input is a typed error, never a panic, and the library prints nothing itself.

use std::collections::BTreeMap;
use std::env::current_exe;
use std::fs;
use std::process::Command;
use std::sync::Mutex;

use islp_mnist::islp::{self, SimpleDataModule, SimpleModule};
use islp_mnist::lightning::LimitTrainBatches::{self, Fraction, Number};
use islp_mnist::lightning::{self, CsvLogger, Trainer, evaluate};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::data::{DataLoader, Subset, random_split};
use islp_mnist::torch::nn::{Flatten, ReLU, dropout, linear, sequential};
use islp_mnist::torch::{self, Generator, state_dict};
use islp_mnist::torchinfo::summary;
use log::{LevelFilter, Log, Metadata, Record};
use safetensors::tensor::{Dtype, TensorView, serialize};
use tch::nn::VarStore;
use tch::vision::dataset::Dataset;
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
const INT64: (Kind, Device) = (Kind::Int64, Device::Cpu);

/// Fails unless it is an error of that type.
macro_rules! assert_error {
    ($result:expr, $error:pat) => {
        let result = $result;
        assert!(matches!(result, Err($error)), "{:?}", result.map(|_| "no error"));
    };
}

fn module(generator: &Generator) -> SimpleModule {
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlr.build(&vs.root(), generator).unwrap();
    SimpleModule::classification(model, vs, 0.01).unwrap()
}

/// Runs one of these tests in a process of its own; its stderr.
fn stderr_of(test: &str) -> String {
    let output = Command::new(current_exe().unwrap())
        .args(["--exact", &format!("errors::{test}"), "--nocapture"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn inputs_that_do_not_fit_the_model_are_errors() {
    let module = module(&Generator::new(0));
    let forward = |size: &[i64], options: (Kind, Device)| module.forward(&Tensor::zeros(size, options), true);
    assert_eq!(forward(&[3, 1, 28, 28], FLOAT).unwrap().size(), [3, 10]);
    for size in [&[3, 1, 28, 27][..], &[3, 785], &[784], &[]] {
        assert_error!(forward(size, FLOAT), islp::Error::Torch(torch::Error::Shape { .. }));
    }
    for kind in [Kind::Int64, Kind::Double, Kind::Half, Kind::Bool] {
        let result = forward(&[3, 1, 28, 28], (kind, Device::Cpu));
        assert!(matches!(result, Err(islp::Error::Input { kind: given, .. }) if given == kind), "{kind:?}");
    }
}

#[test]
fn inputs_that_do_not_fit_print_nothing_on_stderr() {
    assert_eq!(stderr_of("inputs_that_do_not_fit_the_model_are_errors"), "");
}

#[test]
fn labels_that_do_not_fit_the_logits_are_errors() {
    let module = module(&Generator::new(0));
    let logits = Tensor::zeros([3, 10], FLOAT);
    let too_high = Tensor::from_slice(&[0i64, 1, 10]);
    let too_many = Tensor::zeros([4], INT64);
    for labels in [&too_high, &too_many] {
        assert_error!(module.loss(&logits, labels), islp::Error::Torch(torch::Error::Libtorch(_)));
    }
    assert_error!(module.accuracy(&logits, &too_many), islp::Error::Torch(torch::Error::Libtorch(_)));
}

fn dataset(images: &Tensor, labels: &Tensor) -> Dataset {
    let copy = |tensor: &Tensor| tensor.shallow_clone();
    Dataset {
        train_images: copy(images),
        train_labels: copy(labels),
        test_images: copy(images),
        test_labels: copy(labels),
        labels: 10,
    }
}

#[test]
fn data_that_do_not_match_are_errors() {
    let generator = Generator::new(0);
    let new = |images: &Tensor, labels: &Tensor, validation: f64, batch_size: usize| {
        SimpleDataModule::new(&dataset(images, labels), validation, 0, batch_size, &generator)
    };
    let (images, labels) = (Tensor::zeros([10, 2], FLOAT), Tensor::zeros([10], INT64));
    assert!(new(&images, &labels, 0.2, 4).is_ok());
    assert_error!(new(&images, &labels, 0.2, 0), islp::Error::BatchSize);
    for validation in [0.0, f64::NAN, -1.0, 0.09] {
        assert_error!(new(&images, &labels, validation, 4), islp::Error::NoValidation { count: 10, .. });
    }
    for validation in [1.0, f64::INFINITY] {
        assert_error!(new(&images, &labels, validation, 4), islp::Error::NoTraining { count: 10, .. });
    }
    let nine = Tensor::zeros([9], INT64);
    assert_error!(new(&images, &nine, 0.2, 4), islp::Error::Torch(torch::Error::Unpaired { .. }));
    let floats = Tensor::zeros([10], FLOAT);
    let label_kind = new(&images, &floats, 0.2, 4);
    assert_error!(label_kind, islp::Error::Torch(torch::Error::LabelKind(Kind::Float)));
    let beyond = Subset::new(&images, &labels, &[0, 10]);
    assert_error!(beyond, torch::Error::Index { index: 10, count: 10 });
    let parts = random_split(&images, &labels, [5, 6], &generator);
    assert_error!(parts, torch::Error::Lengths { lengths: [5, 6], count: 10 });
}

#[test]
fn layers_of_impossible_sizes_are_errors() {
    let generator = Generator::new(0);
    let vs = VarStore::new(Device::Cpu);
    for (from, to) in [(0, 3), (3, -1)] {
        assert_error!(linear(vs.root() / "x", from, to, &generator), torch::Error::Features { .. });
    }
    for p in [-0.1, 1.1, f64::NAN] {
        assert_error!(dropout(p, &generator), torch::Error::Probability(_));
    }
    let model = sequential().add(Flatten).add(linear(vs.root() / "y", 4, 2, &generator).unwrap());
    assert!(summary(&model, &[1, 2, 2]).is_ok());
    assert_error!(summary(&model, &[1, 2, 3]), torch::Error::Shape { layer: "Linear", .. });
    assert_error!(summary(&model, &[]), torch::Error::InputSize(_));
}

/// Trains for an epoch on these data.
fn fit(images: &Tensor, labels: &Tensor) -> Result<(), lightning::Error> {
    let (folder, generator) = (tempdir().unwrap(), Generator::new(0));
    let data = SimpleDataModule::new(&dataset(images, labels), 0.5, 0, 4, &generator).unwrap();
    let logger = CsvLogger::new(folder.path(), "run").unwrap();
    Trainer::new(1, logger, &generator).fit(&mut module(&generator), &data).map(drop)
}

#[test]
fn a_trainer_returns_the_error_of_a_step() {
    let (images, labels) = (Tensor::zeros([8, 784], FLOAT), Tensor::zeros([8], INT64));
    assert!(fit(&images, &labels).is_ok());
    let wrong_label = fit(&images, &Tensor::full([8], 12, INT64));
    assert_error!(wrong_label, lightning::Error::Islp(islp::Error::Torch(torch::Error::Libtorch(_))));
    let wrong_size = fit(&Tensor::zeros([8, 7], FLOAT), &labels);
    assert_error!(wrong_size, lightning::Error::Islp(islp::Error::Torch(torch::Error::Shape { .. })));
}

#[test]
fn messages_of_a_run_go_to_the_log_crate() {
    static SAID: Mutex<Vec<String>> = Mutex::new(vec![]);
    struct Listener;
    impl Log for Listener {
        fn enabled(&self, _: &Metadata) -> bool {
            true
        }
        fn log(&self, record: &Record) {
            SAID.lock().unwrap().push(format!("{}: {}", record.target(), record.args()));
        }
        fn flush(&self) {}
    }
    log::set_logger(&Listener).unwrap();
    log::set_max_level(LevelFilter::Info);
    fit(&Tensor::zeros([8, 784], FLOAT), &Tensor::zeros([8], INT64)).unwrap();
    let said = SAID.lock().unwrap();
    let end = "islp_mnist::lightning::trainer: `Trainer.fit` stopped: `max_epochs=1` reached.";
    assert!(said.iter().any(|line| line == end), "{said:?}");
}

#[test]
fn without_a_logger_a_run_prints_nothing_on_stderr() {
    assert_eq!(stderr_of("a_trainer_returns_the_error_of_a_step"), "");
}

#[test]
fn a_confusion_matrix_counts_each_label_and_prediction() {
    let generator = Generator::new(0);
    let vs = VarStore::new(Device::Cpu);
    // The prediction is where the input is largest.
    let layer = tch::nn::Linear { ws: Tensor::eye(3, FLOAT), bs: None };
    let module = SimpleModule::classification(Box::new(layer), vs, 0.01).unwrap();
    let inputs = Tensor::eye(3, FLOAT).index_select(0, &Tensor::from_slice(&[0i64, 1, 1, 2, 0]));
    let predictions = |labels: [i64; 5]| {
        let all = Subset::whole(&inputs, &Tensor::from_slice(&labels)).unwrap();
        evaluate(&module, &mut DataLoader::new(&all, 2, &generator), usize::MAX).unwrap()
    };
    let five = predictions([0, 1, 2, 2, 2]);
    assert_eq!(five.confusion_matrix().unwrap(), [[1, 0, 0], [0, 1, 0], [1, 1, 1]]);
    assert_eq!(five.compute(&module).unwrap().accuracy, 0.6);
    assert_error!(predictions([0, 1, 2, 2, 3]).confusion_matrix(), islp::Error::Label { classes: 3 });
}

/// A model that is not in the notebook.
fn own_module(seed: u64) -> SimpleModule {
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(seed));
    let layer = |name: &str, from, to| linear(vs.root() / name, from, to, &generator).unwrap();
    let layers = sequential().add(Flatten).add(layer("hidden", 4, 3)).add(ReLU).add(layer("output", 3, 2));
    SimpleModule::classification(Box::new(layers), vs, 0.01).unwrap()
}

fn values(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<f32>> {
    let values = |tensor: &Tensor| Vec::try_from(tensor.detach().flatten(0, -1)).unwrap();
    tensors.iter().map(|(name, tensor)| (name.clone(), values(tensor))).collect()
}

#[test]
fn the_weights_of_any_model_can_be_saved_and_loaded() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    let (saved, mut loaded) = (own_module(1), own_module(2));
    assert!(values(&saved.state_dict()) != values(&loaded.state_dict()));
    state_dict::save(&saved.state_dict(), &path).unwrap();
    loaded.load_state_dict(&state_dict::load(&path).unwrap()).unwrap();
    assert_eq!(values(&saved.state_dict()), values(&loaded.state_dict()));
    let names = ["hidden.bias", "hidden.weight", "output.bias", "output.weight"];
    assert!(loaded.state_dict().keys().eq(names));
    let inputs = Tensor::ones([5, 2, 2], FLOAT);
    let [ours, theirs] = [&saved, &loaded].map(|module| module.forward(&inputs, false).unwrap());
    assert!(ours.equal(&theirs));
}

#[test]
fn weights_that_are_not_exactly_the_models_are_refused_by_name_and_change_nothing() {
    let mut module = own_module(2);
    let before = values(&module.state_dict());
    // Other values than the module's, so that a change would show.
    let with = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = own_module(1).state_dict();
        change(&mut tensors);
        tensors
    };
    let zeros = || Tensor::zeros([2, 4], FLOAT);

    let error = module.load_state_dict(&with(&|tensors| drop(tensors.remove("output.bias")))).unwrap_err();
    assert!(matches!(&error, islp::Error::MissingKey { name, .. } if name == "output.bias"), "{error}");

    let more = "more\u{1b}[31m";
    let error = module.load_state_dict(&with(&|tensors| drop(tensors.insert(more.into(), zeros()))));
    let error = error.unwrap_err();
    assert!(matches!(&error, islp::Error::UnexpectedKey { name, .. } if name == more), "{error}");
    assert!(!error.to_string().contains(char::is_control), "a file's names may go to a terminal");

    let resized = with(&|tensors| drop(tensors.insert("output.weight".into(), zeros())));
    let error = module.load_state_dict(&resized).unwrap_err();
    let islp::Error::SizeMismatch { name, size, expected, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), &size[..], &expected[..]), ("output.weight", &[2, 4][..], &[2, 3][..]));

    assert_eq!(values(&module.state_dict()), before);
}

#[test]
fn a_file_without_f32_tensors_is_refused_with_the_reason() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        state_dict::load(&path)
    };
    let file = |dtype: Dtype, shape: &[usize], data: &[u8]| {
        serialize([("x", TensorView::new(dtype, shape.to_vec(), data).unwrap())], None).unwrap()
    };
    assert!(load(&file(Dtype::F32, &[1], &1f32.to_le_bytes())).is_ok());
    assert_error!(load(&file(Dtype::F64, &[1], &[0; 8])), state_dict::Error::Dtype { dtype: Dtype::F64, .. });
    assert_error!(load(&file(Dtype::F32, &[0], &[])), state_dict::Error::Empty(_));
    assert_error!(load(&file(Dtype::F32, &[1], &f32::NAN.to_le_bytes())), state_dict::Error::Nan(_));
    assert_error!(load(b"PK\x03\x04 what torch.save writes"), state_dict::Error::Pickle);
    assert_error!(load(b"no tensors"), state_dict::Error::Invalid(_));
    fs::remove_file(&path).unwrap();
    let missing = state_dict::load(&path);
    assert!(matches!(&missing, Err(state_dict::Error::File(error)) if error.is_not_found()), "{missing:?}");

    let halves = BTreeMap::from([("x".to_string(), Tensor::zeros([1], (Kind::Half, Device::Cpu)))]);
    assert_error!(state_dict::save(&halves, &path), state_dict::Error::Kind { kind: Kind::Half, .. });
    assert!(!path.exists());
}

#[test]
fn a_limit_of_batches_is_a_number_or_with_a_decimal_point_a_fraction() {
    for (text, limit, of_187) in [
        ("1", Number(1), 1),
        ("60", Number(60), 60),
        ("9223372036854775807", Number(i64::MAX as usize), 187),
        ("1.0", Fraction(1.0), 187),
        ("0.1", Fraction(0.1), 18),
        ("0.001", Fraction(0.001), 0),
    ] {
        assert_eq!(text.parse(), Ok(limit));
        assert_eq!(limit.to_string(), text);
        assert_eq!(limit.of(187), of_187);
    }
    for text in ["", "0", "0.0", "-3", "-0.5", "1.5", "nan", "inf", "many", "9223372036854775808"] {
        assert!(text.parse::<LimitTrainBatches>().is_err(), "{text}");
    }
}
