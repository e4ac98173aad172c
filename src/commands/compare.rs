use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::UsageError;
use crate::compare::compare;

/// Compare two runs' metrics, weights and output: identical, or where they first differ and by how much.
///
/// Exits with 0 only if everything is identical, with 1 if something differs, with 2 if it could not compare.
#[derive(Args, Debug)]
pub struct Options {
    /// Output folder of the run to be compared with, or a single file of it
    reference: PathBuf,
    /// Output folder of the run that should equal it, or the same file of it
    candidate: PathBuf,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let report = compare(&options.reference, &options.candidate)
        .map_err(|error| UsageError(format!("cannot compare: {error:#}")))?;
    write!(std::io::stdout(), "{report}")?;
    Ok(ExitCode::from(report.outcome().exit_code()))
}
