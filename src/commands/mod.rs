//! The command line: one file a subcommand.

mod compare;
mod completions;
mod doctor;
mod plot;
mod predict;
mod reproduce;
mod summary;
mod test;
mod train;

use std::fmt::{self, Display, Formatter};
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tch::vision::dataset::Dataset;
use tch::{Device, TchError};

use crate::csv_logger::CsvLogger;
use crate::data::SimpleDataModule;
use crate::device::{self, DeviceOption};
use crate::generator::Generator;
use crate::options::RunOptions;
use crate::{banner, chart, file};

/// The MNIST notebook of ISLP in Rust: the same seed gives the same bits as Python.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reproduce(reproduce::Options),
    Train(train::Options),
    Test(test::Options),
    Predict(predict::Options),
    Summary(summary::Options),
    Plot(plot::Options),
    Compare(compare::Options),
    Doctor(doctor::Options),
    Completions(completions::Options),
}

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// clap's, of which help is one.
    pub fn from_args() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Train(options), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
            options.given = given(matches);
        }
        Ok(cli)
    }

    /// Runs the command; the exit code of one that ran.
    pub fn run(self) -> Result<u8> {
        match self.command {
            Command::Reproduce(options) => reproduce::run(&options),
            Command::Train(options) => train::run(&options),
            Command::Test(options) => test::run(&options),
            Command::Predict(options) => predict::run(&options),
            Command::Summary(options) => summary::run(&options),
            Command::Plot(options) => plot::run(&options),
            Command::Compare(options) => compare::run(&options),
            Command::Doctor(options) => doctor::run(&options),
            Command::Completions(options) => completions::run(&options),
        }
    }
}

/// The options that stand on the command line, in contrast to those with their defaults.
fn given(matches: &ArgMatches) -> Vec<String> {
    let ids = matches.ids().map(|id| id.as_str());
    let given = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
    given.map(String::from).collect()
}

/// Where the data are and the results go.
#[derive(Args, Debug)]
struct Folders {
    /// Folder with MNIST/raw/, as torchvision lays it out
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Folder for what the run leaves behind
    #[arg(long, default_value = "output")]
    output_dir: PathBuf,
}

/// Settles device and number of threads, before anything else asks libtorch for something.
fn set_up(device: DeviceOption, threads: Option<i32>) -> Result<Device> {
    let device = device::resolve(device)?;
    if let Some(threads) = threads {
        tch::set_num_threads(threads);
    }
    Ok(device)
}

/// Warns if libtorch draws otherwise than [`Generator`].
fn check_generator() -> Result<()> {
    if !Generator::agrees_with_libtorch()? {
        banner::print(
            "warning: this libtorch draws random numbers otherwise than the one that Python's torch 2.13.0 brings \
             along; the results will not equal Python's",
        );
    }
    Ok(())
}

/// The data's split and loaders.
fn data_module(mnist: &Dataset, options: &RunOptions, generator: &Generator) -> Result<SimpleDataModule> {
    let RunOptions { validation, num_workers, batch_size, .. } = *options;
    let data = SimpleDataModule::new(mnist, validation, num_workers, batch_size, generator);
    data.map_err(|error| match error.downcast::<TchError>() {
        Ok(error) => error.into(),
        Err(error) => UsageError(format!("--validation {validation} {error}")).into(),
    })
}

/// The accuracy figure, beside the metrics.csv that it is of.
fn save_figure(logger: &CsvLogger) -> Result<()> {
    let figure = chart::accuracy(&logger.metrics_file_path())?;
    file::write(&logger.log_dir().join("accuracy.png"), &figure.to_png()?)?;
    Ok(file::write(&logger.log_dir().join("accuracy.svg"), figure.to_svg()?.as_bytes())?)
}

/// Prints a line or several to stdout.
fn print(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").context("cannot write to stdout")
}

/// Marks an error that lies in the options given: exit code 2 instead of 1.
#[derive(Debug)]
pub struct UsageError(String);

impl Display for UsageError {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}
