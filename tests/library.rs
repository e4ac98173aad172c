//! The library for others: what it is given and can't use comes back as an error, never as a panic.

use islp_mnist::islp::module::SimpleModule;
use islp_mnist::lightning::csv_logger::CsvLogger;
use islp_mnist::lightning::trainer::{Trainer, evaluate};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::data::{DataLoader, SimpleDataModule, Subset};
use islp_mnist::torch::error::without_backtrace;
use islp_mnist::torch::generator::Generator;
use islp_mnist::torch::nn::{Flatten, dropout, linear, sequential};
use islp_mnist::torchinfo::summary;
use tch::nn::VarStore;
use tch::vision::dataset::Dataset;
use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
const INT64: (Kind, Device) = (Kind::Int64, Device::Cpu);

fn message<T>(result: Result<T, impl Into<anyhow::Error>>) -> String {
    let error = result.err().expect("an error").into();
    without_backtrace(&format!("{error:#}")).to_string()
}

fn module(generator: &Generator) -> SimpleModule {
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlr.build(&vs.root(), generator).unwrap();
    SimpleModule::classification(model, vs, 0.01).unwrap()
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
fn inputs_and_labels_that_do_not_fit_the_model_are_errors() {
    let module = module(&Generator::new(0));
    let logits = module.forward(&Tensor::zeros([3, 1, 28, 28], FLOAT), true).unwrap();
    assert_eq!(logits.size(), [3, 10]);
    assert_eq!(
        message(module.forward(&Tensor::zeros([3, 1, 28, 27], FLOAT), true)),
        "mat1 and mat2 shapes cannot be multiplied (3x756 and 784x10)"
    );
    assert_eq!(
        message(module.forward(&Tensor::zeros([3, 784], INT64), false)),
        "mat1 and mat2 must have the same dtype, but got Long and Float"
    );
    let too_high = Tensor::from_slice(&[0i64, 1, 10]);
    assert_eq!(message(module.loss(&logits, &too_high)), "Internal torch error: Target 10 is out of bounds.");
    let too_many = Tensor::zeros([4], INT64);
    assert_eq!(
        message(module.loss(&logits, &too_many)),
        "Internal torch error: Expected input batch_size (3) to match target batch_size (4)."
    );
    assert_eq!(
        message(module.accuracy(&logits, &too_many)),
        "Internal torch error: The size of tensor a (3) must match the size of tensor b (4) at non-singleton \
         dimension 0"
    );
}

#[test]
fn data_that_do_not_go_together_are_errors() {
    let generator = Generator::new(0);
    let new = |images: &Tensor, labels: &Tensor, validation: f64, batch_size: usize| {
        SimpleDataModule::new(&dataset(images, labels), validation, 0, batch_size, &generator)
    };
    let (images, labels) = (Tensor::zeros([10, 2], FLOAT), Tensor::zeros([10], INT64));
    assert!(new(&images, &labels, 0.2, 4).is_ok());
    assert_eq!(message(new(&images, &labels, 0.2, 0)), "a batch of no images");
    for (validation, expected) in [
        (0.0, "leaves none of the 10 training images for validation; take a larger one"),
        (f64::NAN, "leaves none of the 10 training images for validation; take a larger one"),
        (-1.0, "leaves none of the 10 training images for validation; take a larger one"),
        (1.0, "leaves none of the 10 images for training; take a smaller one"),
        (f64::INFINITY, "leaves none of the 10 images for training; take a smaller one"),
    ] {
        assert_eq!(message(new(&images, &labels, validation, 4)), expected);
    }
    assert_eq!(
        message(new(&images, &Tensor::zeros([9], INT64), 0.2, 4)),
        "images of shape [10, 2] with labels of shape [9]: [N, ...] and [N] are needed"
    );
    assert_eq!(
        message(new(&Tensor::zeros([0i64; 0], FLOAT), &Tensor::zeros([0i64; 0], INT64), 0.5, 4)),
        "leaves none of the 1 training images for validation; take a larger one"
    );
    assert_eq!(
        message(new(&images, &Tensor::zeros([10], FLOAT), 0.2, 4)),
        "labels of kind Float: Int64 is needed"
    );
    assert_eq!(message(Subset::new(&images, &labels, &[0, 10])), "an index beyond the 10 images");
}

#[test]
fn layers_of_impossible_sizes_are_errors() {
    let generator = Generator::new(0);
    let vs = VarStore::new(Device::Cpu);
    for (from, to) in [(0, 3), (3, -1)] {
        assert_eq!(
            message(linear(vs.root() / "x", from, to, &generator)),
            format!("a linear layer of {from} to {to} features: take 1 or more of each")
        );
    }
    for p in [-0.1, 1.1, f64::NAN] {
        assert_eq!(
            message(dropout(p, &generator)),
            format!("dropout probability has to be between 0 and 1, but got {p}")
        );
    }
    let model = sequential().add(Flatten).add(linear(vs.root() / "y", 4, 2, &generator).unwrap());
    assert!(summary(&model, &[1, 2, 2]).is_ok());
    assert_eq!(message(summary(&model, &[1, 2, 3])), "Linear takes [..., 4], not [1, 6]");
    assert_eq!(message(summary(&model, &[])), "an input of shape [] is none that memory could hold");
}

#[test]
fn a_trainer_returns_what_fails_in_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let generator = Generator::new(0);
    let fit = |images: &Tensor, labels: &Tensor| {
        let data = SimpleDataModule::new(&dataset(images, labels), 0.5, 0, 4, &generator).unwrap();
        let logger = CsvLogger::new(folder.path(), "run").unwrap();
        Trainer::new(1, logger, &generator).fit(&mut module(&generator), &data)
    };
    let images = Tensor::zeros([8, 784], FLOAT);
    assert!(fit(&images, &Tensor::zeros([8], INT64)).is_ok());
    let error = message(fit(&images, &Tensor::full([8], 12, INT64)));
    assert!(error.ends_with("Target 12 is out of bounds."), "{error}");
    let error = message(fit(&Tensor::zeros([8, 7], FLOAT), &Tensor::zeros([8], INT64)));
    assert!(error.contains("mat1 and mat2 shapes cannot be multiplied"), "{error}");
}

#[test]
fn a_confusion_matrix_counts_each_label_and_prediction() {
    let generator = Generator::new(0);
    let vs = VarStore::new(Device::Cpu);
    // The prediction is where the input is largest.
    let layer = tch::nn::Linear { ws: Tensor::eye(3, FLOAT), bs: None };
    let module = SimpleModule::classification(Box::new(layer), vs, 0.01).unwrap();
    let inputs = Tensor::eye(3, FLOAT).index_select(0, &Tensor::from_slice(&[0i64, 1, 1, 2, 0]));
    let labels = Tensor::from_slice(&[0i64, 1, 2, 2, 2]);
    let all = Subset::whole(&inputs, &labels).unwrap();
    let predictions = evaluate(&module, &mut DataLoader::new(&all, 2, &generator), usize::MAX).unwrap();
    assert_eq!(predictions.confusion_matrix().unwrap(), [[1, 0, 0], [0, 1, 0], [1, 1, 1]]);
    assert_eq!(predictions.compute(&module).unwrap().accuracy, 0.6);
}
