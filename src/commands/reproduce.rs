//! `islp-mnist reproduce`: the notebook's cells, in their order.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Tensor};

use super::{UsageError, print};
use crate::banner;
use crate::checkpoint::save_weights;
use crate::csv_logger::CsvLogger;
use crate::data::SimpleDataModule;
use crate::figure;
use crate::file;
use crate::generator::Generator;
use crate::mnist;
use crate::model::{MnistMlr, MnistModel};
use crate::module::SimpleModule;
use crate::python::{tensor_of_digits, torch_size};
use crate::summary::summary;
use crate::test_table::{terminal_width, test_list, test_table};
use crate::trainer::Trainer;

/// Run every cell of the notebook and print what it prints, bit for bit as Python would.
///
/// Metrics, weights and figures go to OUTPUT_DIR/MNIST/version_N and OUTPUT_DIR/MNIST_MLR/version_N.
///
/// Example: islp-mnist reproduce --epochs 5 --seed 1
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // so that the message on one names the option
pub struct Options {
    /// Passes over the training images
    #[arg(long, default_value = "30", value_parser = at_least_one)]
    epochs: usize,
    /// Images in a training step
    #[arg(long, default_value = "256", value_parser = at_least_one)]
    batch_size: usize,
    /// Fraction of the training images held back for validation, between 0 and 1
    #[arg(long, default_value = "0.2", value_parser = fraction, allow_hyphen_values = true)]
    validation: f64,
    /// Seed of everything random but the split; as in PyTorch only its low 32 bits count
    #[arg(long, default_value = "0", value_parser = seed)]
    seed: u64,
    /// Workers that Python's data loaders would have: changes which seeds are drawn when, nothing else
    #[arg(long, default_value = "4", value_parser = at_least_zero)]
    num_workers: usize,
    /// Learning rate of RMSprop
    #[arg(long, default_value = "0.01", value_parser = learning_rate, allow_hyphen_values = true)]
    lr: f64,
    /// Folder with MNIST/raw/, as torchvision lays it out
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Folder for what the run leaves behind
    #[arg(long, default_value = "output")]
    output_dir: PathBuf,
    /// Threads of libtorch [default: libtorch's, one a physical core]
    #[arg(long, value_parser = threads)]
    threads: Option<i32>,
    /// No progress bar even where stderr is a terminal
    #[arg(long)]
    no_progress: bool,
}

fn at_least_one(value: &str) -> Result<usize, String> {
    // Python's and libtorch's integers are signed.
    let number = value.parse::<i64>().ok().filter(|number| *number > 0);
    number.map(|number| number as usize).ok_or("must be a whole number, 1 or more".into())
}

fn at_least_zero(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| "must be a whole number, 0 or more".into())
}

fn seed(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("must be a whole number from 0 to {}", u64::MAX))
}

fn fraction(value: &str) -> Result<f64, String> {
    let inside = |fraction: &f64| *fraction > 0.0 && *fraction < 1.0;
    value.parse().ok().filter(inside).ok_or("must be a fraction above 0 and below 1, such as 0.2".into())
}

fn learning_rate(value: &str) -> Result<f64, String> {
    // The parameters are f32, and PyTorch's RMSprop fails with a rate beyond their range.
    let valid = |lr: &f64| (0.0..=f64::from(f32::MAX)).contains(lr);
    value.parse().ok().filter(valid).ok_or("must be a number from 0 to 3.4e38, such as 0.01".into())
}

fn threads(value: &str) -> Result<i32, String> {
    // OpenMP ends the process when it cannot start a thread, so the number is kept to what machines have.
    value
        .parse()
        .ok()
        .filter(|threads| (1..=1024).contains(threads))
        .ok_or("must be a whole number from 1 to 1024".into())
}

pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(threads) = options.threads {
        tch::set_num_threads(threads);
    }
    if !Generator::agrees_with_libtorch() {
        banner::print(
            "warning: this libtorch draws random numbers otherwise than the one that Python's torch 2.13.0 brings \
             along; the results will not equal Python's",
        );
    }
    let mnist = mnist::load(&options.data_dir)?;
    let generator = Generator::new(options.seed);
    let data = SimpleDataModule::new(
        &mnist,
        options.validation,
        options.num_workers,
        options.batch_size,
        &generator,
    )
    .map_err(|error| UsageError(format!("--validation {} {error}", options.validation)))?;
    // Both folders now, so that one that can't be written is known before any training.
    let mnist_logger = CsvLogger::new(&options.output_dir, "MNIST")?;
    let mlr_logger = CsvLogger::new(&options.output_dir, "MNIST_MLR").inspect_err(|_| {
        let _ = fs::remove_dir(mnist_logger.log_dir());
    })?;

    // len(mnist_train[0]), mnist_train[0][1], mnist_train[0][0].shape, mnist_train.targets
    let targets = Vec::<i64>::try_from(&mnist.train_labels)?;
    print(&format!("2\n{}", targets[0]))?;
    print(&torch_size(&mnist.train_images.get(0).size()))?;
    print(&tensor_of_digits(&targets))?;

    let mut train_dataloader = data.train_dataloader();
    let mut x = Tensor::new();
    for (idx, (x_, y_)) in train_dataloader.iter().take(2).enumerate() {
        print(&format!("X_{idx}:  {}\nY_{idx}:  {}", torch_size(&x_.size()), torch_size(&y_.size())))?;
        x = x_;
    }

    let vs = VarStore::new(Device::Cpu);
    let mnist_model = MnistModel::new(&vs.root(), &generator);
    print(&torch_size(&mnist_model.forward_t(&x, true).size()))?;
    print(&summary(&mnist_model, &x.size()).to_string())?;
    let mnist_module = SimpleModule::classification(mnist_model, vs, options.lr);
    fit_and_test(mnist_module, mnist_logger, &data, &generator, options)?;

    let vs = VarStore::new(Device::Cpu);
    let mlr_model = MnistMlr::new(&vs.root(), &generator);
    let mlr_module = SimpleModule::classification(mlr_model, vs, options.lr);
    fit_and_test(mlr_module, mlr_logger, &data, &generator, options)?;
    Ok(ExitCode::SUCCESS)
}

/// The notebook's cells from the Trainer on, for one model.
fn fit_and_test(
    mut module: SimpleModule,
    logger: CsvLogger,
    data: &SimpleDataModule,
    generator: &Generator,
    options: &Options,
) -> Result<()> {
    let log_dir = logger.log_dir().to_path_buf();
    let metrics_csv = logger.metrics_file_path();
    let mut trainer = Trainer::new(options.epochs, logger, generator, !options.no_progress);
    trainer.fit(&mut module, data)?;
    save_weights(&module.vs, &log_dir.join("model.safetensors"))?;

    let figure = figure::accuracy(&metrics_csv)?;
    file::write(&log_dir.join("accuracy.png"), &figure.to_png()?)?;
    file::write(&log_dir.join("accuracy.svg"), figure.to_svg()?.as_bytes())?;

    let metrics = trainer.test(&module, data)?;
    print(&test_table(&metrics, terminal_width()))?;
    print(&test_list(&metrics))
}
