//! The lab: the notebook's cells in their order, its two models, and which file holds which model's weights.

pub mod models;
pub(crate) mod print;
pub mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tch::nn::VarStore;
use tch::vision::dataset::Dataset;
use tch::{Device, TchError, Tensor};

use crate::chart::{self, Picture};
use crate::islp;
use crate::islp::data_module::SimpleDataModule;
use crate::islp::module::SimpleModule;
use crate::lightning;
use crate::lightning::csv_logger::CsvLogger;
use crate::lightning::evaluation_loop::{test_list, test_table};
use crate::lightning::trainer::Trainer;
use crate::torch;
use crate::torch::generator::{DropoutGenerator, Generator};
use crate::torch::state_dict;
use crate::torchinfo::summary;
use crate::trace::Trace;
use crate::util::file;
use models::Model;
use print::{tensor_of_digits, torch_size};

/// What the cells are run with; [`Default`] has the notebook's values.
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
    /// Images in a training step.
    pub batch_size: usize,
    /// Fraction of the training images held back for validation.
    pub validation: f64,
    /// `seed_everything`'s.
    pub seed: u64,
    /// Workers that Python's data loaders have.
    pub num_workers: usize,
    /// Learning rate of RMSprop.
    pub lr: f64,
    /// What dropout draws from in training.
    pub dropout_generator: DropoutGenerator,
    /// Where `CSVLogger` makes the runs' folders.
    pub output_dir: PathBuf,
    /// A progress bar on stderr, where that is a terminal. Where none is drawn, each epoch is a line of the log.
    pub enable_progress_bar: bool,
    /// Columns of the terminal that the test table is for.
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
    /// The last value of every metric; none if it was not finite.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// How long fit and test took.
    pub duration: Duration,
}

/// What ends the cells before their end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
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

/// Prints a line or several.
type Print<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

/// Runs every cell on the device of the data, and prints what the notebook prints. Metrics, weights and figures of each
/// model are in the folder that is returned of it, both trainings in the trace, if there is one.
///
/// # Errors
/// Data that can't be split or trained on, files that can't be written, short memory, and what `print` returns.
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
    // Both folders now, so that one that can't be written is known before any training.
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
    // In Python the model is on the CPU until `fit`, and its dropout draws there.
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

/// The cells from the Trainer on, for one model.
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

/// The accuracy figure as accuracy.png and accuracy.svg, beside the metrics.csv that it is of.
///
/// # Errors
/// A metrics.csv that is missing, or files that can't be written.
pub fn save_figure(logger: &CsvLogger) -> Result<(), Error> {
    let figure = chart::accuracy(&logger.metrics_file_path())?;
    let beside = |name: &str| logger.log_dir().join(name);
    file::write(&beside("accuracy.png"), &figure.to_png()?)?;
    file::write(&beside("accuracy.svg"), figure.to_svg()?.as_bytes())?;
    Ok(())
}
