//! `islp-mnist reproduce`: the notebook's cells, see [`crate::notebook`].

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::output::{print_line, say};
use super::{DataDir, check_generator, set_up};
use crate::cli::options::RunOptions;
use crate::cli::trace_options::TraceOptions;
use crate::lightning::evaluation_loop::terminal_width;
use crate::notebook;
use crate::notebook::weights;
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
    #[command(flatten)]
    trace: TraceOptions,
    /// No progress bar even where stderr is a terminal
    #[arg(long)]
    no_progress: bool,
}

/// Runs the command.
pub fn run(args: &ReproduceArgs) -> Result<u8> {
    let RunOptions { epochs, batch_size, validation, seed, num_workers, lr, threads, device } = args.run;
    let device = set_up(device, threads)?;
    check_generator()?;
    let mnist = torchvision::load(&args.data.or(None), device)?;
    let options = notebook::Options {
        epochs,
        batch_size,
        validation,
        seed,
        num_workers,
        lr,
        output_dir: args.output_dir.clone(),
        enable_progress_bar: !args.no_progress,
        terminal_width: terminal_width(),
    };
    for log_dir in notebook::run(&mnist, &options, args.trace.create()?, &mut print_line)? {
        let files = format!("metrics.csv, {}, accuracy.png and accuracy.svg", weights::FILE);
        say(&format!("{files} are in {}", log_dir.display()));
    }
    Ok(0)
}
