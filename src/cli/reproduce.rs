//! `islp-mnist reproduce`: the notebook's cells, in their order.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tch::nn::VarStore;
use tch::{Device, Tensor};

use super::{DataDir, check_generator, data_module, print, save_figure, say, set_up};
use crate::cli::options::RunOptions;
use crate::islp::data_module::SimpleDataModule;
use crate::islp::module::SimpleModule;
use crate::lightning::csv_logger::CsvLogger;
use crate::lightning::evaluation_loop::{terminal_width, test_list, test_table};
use crate::lightning::trainer::Trainer;
use crate::notebook::models::Model;
use crate::notebook::print::{tensor_of_digits, torch_size};
use crate::notebook::weights;
use crate::torch::generator::Generator;
use crate::torchinfo::summary;
use crate::torchvision;

/// Run every cell of the notebook and print what it prints, on the CPU bit for bit as Python would.
///
/// Metrics, weights and figures go to OUTPUT_DIR/MNIST/version_N and OUTPUT_DIR/MNIST_MLR/version_N.
///
/// Example: islp-mnist reproduce --epochs 5 --seed 1
#[derive(Args, Debug)]
pub struct ReproduceArgs {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    data: DataDir,
    /// Folder for what the run leaves behind
    #[arg(long, value_name = "DIR", default_value = "output")]
    output_dir: PathBuf,
    /// No progress bar even where stderr is a terminal
    #[arg(long)]
    no_progress: bool,
}

/// Runs the command.
pub fn run(args: &ReproduceArgs) -> Result<u8> {
    let run = &args.run;
    let device = set_up(run.device, run.threads)?;
    check_generator()?;
    let generator = Generator::new(run.seed);
    let mnist = torchvision::load(&args.data.or(None), device)?;
    let data = data_module(&mnist, run, &generator)?;
    // Both folders now, so that one that can't be written is known before any training.
    let mnist_logger = CsvLogger::new(&args.output_dir, Model::Mlp.run_name())?;
    let mlr_logger = CsvLogger::new(&args.output_dir, Model::Mlr.run_name()).inspect_err(|_| {
        let _ = fs::remove_dir(mnist_logger.log_dir());
    })?;

    // len(mnist_train[0]), mnist_train[0][1], mnist_train[0][0].shape, mnist_train.targets
    let targets = Vec::<i64>::try_from(mnist.train_labels.f_to_device(Device::Cpu)?)?;
    print(&format!("2\n{}", targets[0]))?;
    print(&torch_size(&mnist.train_images.get(0).size()))?;
    print(&tensor_of_digits(&targets))?;

    let mut train_dataloader = data.train_dataloader();
    let mut x = Tensor::new();
    for (idx, batch) in train_dataloader.iter()?.take(2).enumerate() {
        let (x_, y_) = batch?;
        print(&format!("X_{idx}:  {}\nY_{idx}:  {}", torch_size(&x_.size()), torch_size(&y_.size())))?;
        x = x_;
    }

    let vs = VarStore::new(device);
    let mnist_model = Model::Mlp.build(&vs.root(), &generator)?;
    let mnist_module = SimpleModule::classification(mnist_model, vs, run.lr)?;
    print(&torch_size(&mnist_module.forward(&x, true)?.size()))?;
    print(&summary(&*mnist_module.model, &x.size())?.to_string())?;
    fit_and_test(mnist_module, mnist_logger, &data, &generator, args)?;

    let vs = VarStore::new(device);
    let mlr_model = Model::Mlr.build(&vs.root(), &generator)?;
    let mlr_module = SimpleModule::classification(mlr_model, vs, run.lr)?;
    fit_and_test(mlr_module, mlr_logger, &data, &generator, args)?;
    Ok(0)
}

/// The notebook's cells from the Trainer on, for one model.
fn fit_and_test(
    mut module: SimpleModule,
    logger: CsvLogger,
    data: &SimpleDataModule,
    generator: &Generator,
    args: &ReproduceArgs,
) -> Result<()> {
    let mut trainer = Trainer::new(args.run.epochs, logger, generator);
    trainer.enable_progress_bar = !args.no_progress;
    trainer.fit(&mut module, data)?;
    let log_dir = trainer.logger.log_dir().to_path_buf();
    weights::save(&module, &log_dir.join(weights::FILE))?;
    save_figure(&trainer.logger)?;

    let metrics = trainer.test(&module, data)?;
    print(&test_table(&metrics, terminal_width()))?;
    print(&test_list(&metrics))?;
    say(&format!(
        "metrics.csv, {}, accuracy.png and accuracy.svg are in {}",
        weights::FILE,
        log_dir.display()
    ));
    Ok(())
}
