//! The lab: the notebook's cells in order, its two models, and their weights on disk.

pub mod models;
pub mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tch::nn::VarStore;
use tch::vision::dataset::Dataset;
use tch::{Device, TchError, Tensor};

use models::Model;

use crate::chart::{self, Picture};
use crate::islp::{self, SimpleDataModule, SimpleModule};
use crate::lightning::{self, CsvLogger, Trainer, test_list, test_table};
use crate::torch::{self, DropoutGenerator, Generator, state_dict};
use crate::torchinfo::summary;
use crate::trace::Trace;
use crate::util::file;

/// The options of the cells; their defaults are the notebook's values.
///
/// ```
/// use islp_mnist::notebook::Options;
///
/// let options = Options { epochs: 2, ..Options::default() };
/// assert_eq!((options.batch_size, options.lr), (256, 0.01));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per training step.
    pub batch_size: usize,
    /// Fraction of the training images held out for validation.
    pub validation: f64,
    /// The seed of `seed_everything`.
    pub seed: u64,
    /// Workers of Python's data loaders.
    pub num_workers: usize,
    /// Learning rate of RMSprop.
    pub lr: f64,
    /// The generator that dropout draws from in training.
    pub dropout_generator: DropoutGenerator,
    /// The folder in which `CSVLogger` creates the runs' folders.
    pub output_dir: PathBuf,
    /// Draws a progress bar on stderr, if that is a terminal. If none is drawn, each epoch logs a line.
    pub enable_progress_bar: bool,
    /// The width of the test table, in columns.
    pub terminal_width: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epochs: 30,
            batch_size: 256,
            validation: 0.2,
            seed: 0,
            num_workers: 4,
            lr: 0.01,
            dropout_generator: DropoutGenerator::default(),
            output_dir: "logs".into(),
            enable_progress_bar: false,
            terminal_width: 120,
        }
    }
}

/// The results of one model's cells.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The run's folder.
    pub log_dir: PathBuf,
    /// Training steps taken.
    pub global_step: usize,
    /// The last value of every metric; none if it is not finite.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The time that fit and test took.
    pub duration: Duration,
}

/// An error of the cells.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("cannot write to stdout: {0}")]
    Print(io::Error),
    #[error(transparent)]
    Lightning(#[from] lightning::Error),
    #[error(transparent)]
    Weights(#[from] state_dict::Error),
    #[error(transparent)]
    Chart(#[from] chart::Error),
    #[error(transparent)]
    File(#[from] file::Error),
}

impl From<islp::Error> for Error {
    fn from(error: islp::Error) -> Self {
        lightning::Error::from(error).into()
    }
}

impl From<torch::Error> for Error {
    fn from(error: torch::Error) -> Self {
        lightning::Error::from(error).into()
    }
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        torch::Error::from(error).into()
    }
}

/// Prints one or more lines.
type Print<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

/// Runs every cell on the device of the data, and prints what the notebook prints. Each model's metrics, weights and
/// figures are in its `log_dir`. The trace, if there is one, records both trainings.
///
/// # Errors
/// Fails if the data can't be split or trained on, a file can't be written, memory is short or `print` fails.
pub fn run(
    mnist: &Dataset,
    options: &Options,
    mut trace: Option<Trace>,
    print: Print,
) -> Result<[Fitted; 2], Error> {
    let Options { batch_size, validation, num_workers, .. } = *options;
    let generator = Generator::new(options.seed);
    generator.draw_dropout_from(options.dropout_generator);
    let data = SimpleDataModule::new(mnist, validation, num_workers, batch_size, &generator)?;
    // Both loggers are created first, so that a folder that can't be written to is an error before any training.
    let mnist_logger = CsvLogger::new(&options.output_dir, Model::Mlp.run_name())?;
    let mlr_logger = CsvLogger::new(&options.output_dir, Model::Mlr.run_name()).inspect_err(|_| {
        let _ = fs::remove_dir(mnist_logger.log_dir());
    })?;
    let print = &mut |text: &str| print(text).map_err(Error::Print);

    // len(mnist_train[0]), mnist_train[0][1], mnist_train[0][0].shape, mnist_train.targets
    let targets = Vec::<i64>::try_from(mnist.train_labels.f_to_device(Device::Cpu)?)?;
    print(&format!("2\n{}", targets[0]))?;
    print(&torch_size(&mnist.train_images.f_get(0)?.size()))?;
    print(&tensor_of_digits(&targets))?;

    let mut train_dataloader = data.train_dataloader();
    let mut x = Tensor::new();
    for (idx, batch) in train_dataloader.iter()?.take(2).enumerate() {
        let (x_, y_) = batch?;
        print(&format!("X_{idx}:  {}\nY_{idx}:  {}", torch_size(&x_.size()), torch_size(&y_.size())))?;
        x = x_;
    }

    let vs = VarStore::new(x.device());
    let mnist_model = Model::Mlp.build(&vs.root(), &generator)?;
    let mnist_module = SimpleModule::classification(mnist_model, vs, options.lr)?;
    // In Python the model is on the CPU until `fit`, so its dropout draws there.
    let output = generator.with_dropout_from_cpu(|| mnist_module.forward(&x, true))?;
    print(&torch_size(&output.size()))?;
    print(&summary(&*mnist_module.model, &x.size())?.to_string())?;
    let mnist = fit_and_test(mnist_module, mnist_logger, &data, &generator, options, &mut trace, print)?;

    let vs = VarStore::new(x.device());
    let mlr_model = Model::Mlr.build(&vs.root(), &generator)?;
    let mlr_module = SimpleModule::classification(mlr_model, vs, options.lr)?;
    let mlr = fit_and_test(mlr_module, mlr_logger, &data, &generator, options, &mut trace, print)?;
    Ok([mnist, mlr])
}

/// The cells from the Trainer onwards, for one model.
fn fit_and_test(
    mut module: SimpleModule,
    logger: CsvLogger,
    data: &SimpleDataModule,
    generator: &Generator,
    options: &Options,
    trace: &mut Option<Trace>,
    print: &mut dyn FnMut(&str) -> Result<(), Error>,
) -> Result<Fitted, Error> {
    let start = Instant::now();
    let mut trainer = Trainer::new(options.epochs, logger, generator);
    trainer.enable_progress_bar = options.enable_progress_bar;
    trainer.trace = trace.take();
    trainer.fit(&mut module, data)?;
    *trace = trainer.trace.take();
    let log_dir = trainer.logger.log_dir().to_path_buf();
    weights::save(&module, &log_dir.join(weights::FILE))?;
    save_figure(&trainer.logger)?;

    let metrics = trainer.test(&module, data)?;
    print(&test_table(&metrics, options.terminal_width))?;
    print(&test_list(&metrics))?;
    let (global_step, metrics) = (trainer.global_step, trainer.logger.last_metrics());
    Ok(Fitted { log_dir, global_step, metrics, duration: start.elapsed() })
}

/// Writes the accuracy figure to accuracy.png and accuracy.svg beside metrics.csv.
///
/// # Errors
/// Fails if metrics.csv is missing, or a file can't be written.
pub fn save_figure(logger: &CsvLogger) -> Result<(), Error> {
    let figure = chart::accuracy(logger.metrics_file_path())?;
    let beside = |name: &str| logger.log_dir().join(name);
    file::write(&beside("accuracy.png"), &figure.to_png()?)?;
    file::write(&beside("accuracy.svg"), figure.to_svg()?.as_bytes())?;
    Ok(())
}

/// A `torch.Size` as Python prints it.
#[doc(hidden)]
pub fn torch_size(size: &[i64]) -> String {
    format!("torch.Size({size:?})")
}

/// A tensor of one-digit integers as Python prints it: the first and last three if there are more than 1000, otherwise
/// wrapped at 80 columns (`torch/_tensor_str.py`).
#[doc(hidden)]
pub fn tensor_of_digits(values: &[i64]) -> String {
    const LINE_WIDTH: usize = 80;
    const INDENT: usize = "tensor([".len();
    let join = |values: &[i64]| values.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let body = if values.len() > 1000 {
        format!("{},  ..., {}", join(&values[..3]), join(&values[values.len() - 3..]))
    } else {
        // An element has one digit, a comma and a space.
        let per_line = (LINE_WIDTH - INDENT) / 3;
        let lines: Vec<_> = values.chunks(per_line).map(join).collect();
        lines.join(&format!(",\n{}", " ".repeat(INDENT)))
    };
    format!("tensor([{body}])")
}
