//! The command line: one file a subcommand.

mod compare;
mod plot;
mod doctor;
mod reproduce;

use std::fmt::{self, Display, Formatter};
use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

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
    Compare(compare::Options),
    Plot(plot::Options),
    Doctor(doctor::Options),
}

impl Cli {
    /// Runs the command; the exit code of one that ran.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Reproduce(options) => reproduce::run(&options),
            Command::Compare(options) => compare::run(&options),
            Command::Plot(options) => plot::run(&options),
            Command::Doctor(options) => doctor::run(&options),
        }
    }
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
