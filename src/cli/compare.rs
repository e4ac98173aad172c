//! `islp-mnist compare`: prints what [`crate::compare`] finds, and says it by the exit code.

use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::Args;

use super::hints::explain;
use super::{UsageError, print};
use crate::compare::{Verdict, compare};

/// Compare two runs' metrics, weights and output: identical, or where they first differ and by how much.
///
/// Exits with 0 only if everything is identical, with 1 if something differs, with 2 if it could not compare.
///
/// Example: islp-mnist compare output/MNIST/version_0 output/MNIST/version_1
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Output folder of the run to be compared with, or a single file of it
    reference: PathBuf,
    /// Output folder of the run that should equal it, or the same file of it
    candidate: PathBuf,
}

/// Runs the command.
pub fn run(args: &CompareArgs) -> Result<u8> {
    // Exit code 1 would say that something differs.
    let cannot_compare = |error: Error| UsageError(format!("cannot compare: {}", explain(&error)));
    let report = compare(&args.reference, &args.candidate).map_err(|error| cannot_compare(error.into()))?;
    print(report.to_string().trim_end()).map_err(cannot_compare)?;
    Ok(match report.verdict() {
        Verdict::Identical => 0,
        Verdict::Different => 1,
        Verdict::Incomparable => 2,
    })
}
