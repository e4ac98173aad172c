//! `islp-mnist reproduce`: runs the notebook's cells, [`islp_mnist::notebook`].

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use log::info;

use super::hints::explain;
use super::options::{DataDir, ProgressOptions, RunArgs, TraceOptions};
use super::output::{print_line, say};
use super::setup::{check_generator, note_on, set_up};
use islp_mnist::lightning::terminal_width;
use islp_mnist::notebook::{self, models::Model, weights};
use islp_mnist::report::{self, TestImages};
use islp_mnist::run::{RunOptions, write_of_reproduce};
use islp_mnist::torchvision;
use islp_mnist::util::{file, path::shell_path};

/// Run every cell of the notebook and print its output; on the CPU, bit for bit as in Python.
///
/// Metrics, weights, figures and run.json are written to OUTPUT_DIR/MNIST/version_N and OUTPUT_DIR/MNIST_MLR/version_N.
///
/// Example: islp-mnist reproduce --epochs 5 --seed 1
#[derive(Args, Debug)]
pub struct ReproduceArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    data: DataDir,
    /// Folder for the run's files
    #[arg(long, value_name = "DIR", default_value = "output")]
    output_dir: PathBuf,
    #[command(flatten)]
    trace: TraceOptions,
    /// Also make a page of both runs, report.html in the MLP's folder (see `report`)
    #[arg(long, overrides_with = "report")]
    report: bool,
    #[command(flatten)]
    progress: ProgressOptions,
}

pub fn run(args: &ReproduceArgs) -> Result<u8> {
    let given = args.run.over(&RunOptions::default());
    let device = set_up(given.device, given.threads)?;
    // The model with dropout limits the batch size.
    let run_options = given.on(device, Model::Mlp)?;
    let RunOptions { epochs, batch_size, validation, seed, num_workers, lr, generator, .. } = run_options;
    check_generator()?;
    let (start, data_dir) = (SystemTime::now(), args.data.or(None));
    let mnist = torchvision::load(&data_dir, device)?;
    let options = notebook::Options {
        epochs,
        batch_size,
        validation,
        seed,
        num_workers,
        lr,
        dropout_generator: generator.into(),
        output_dir: args.output_dir.clone(),
        enable_progress_bar: args.progress.apply(),
        terminal_width: terminal_width(),
    };
    let (trace, checksums) = (args.trace.create()?, torchvision::checksums(&data_dir)?);
    // Logged with the first line that is printed: after the folders are created, before the training starts.
    let mut note = note_on(&data_dir, &checksums)?;
    let mut print = |text: &str| {
        print_line(text)?;
        note.take().iter().for_each(|note| info!("{note}"));
        Ok(())
    };
    let runs = notebook::run(&mnist, &options, trace, &mut print)?;
    for run in &runs {
        write_of_reproduce(run, &run_options, &checksums, &data_dir, start)?;
        let files = format!("metrics.csv, {}, run.json, accuracy.png and accuracy.svg", weights::FILE);
        info!("{files} are in {}", shell_path(&run.log_dir));
    }
    if args.report {
        // Both runs are saved, so it is not an error if the page can't be made, for example because a run diverged.
        let images = TestImages::loaded(&data_dir, device, mnist);
        match report::page(&runs.each_ref().map(|run| run.log_dir.as_path()), &images) {
            Ok(html) => {
                let page = runs[0].log_dir.join("report.html");
                file::write(&page, html.as_bytes())?;
                info!("the page of both runs is {}", shell_path(&page));
            }
            Err(error) => say(&format!("warning: no page: {}", explain(&error.into()))),
        }
    }
    Ok(0)
}
