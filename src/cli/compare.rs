//! `islp-mnist compare`: prints the findings of [`islp_mnist::compare`] and sets the exit code.

use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::Args;

use super::hints::{self, UsageError, explain};
use super::output::{print, say};
use islp_mnist::compare::{Options, Rename, Tolerance, Translation, Verdict, compare};
use islp_mnist::notebook::weights;

/// Compare two runs or two traces: where do they first differ, and by how much?
///
/// Compares the metrics, weights, printed output and traces of two runs. The weights are those in model.safetensors, or in
/// the last checkpoint if that is newer or there is no model.safetensors.
///
/// Exit code: 0 if everything is identical, or close within --atol and --rtol; 1 if something differs; 2 if something could
/// not be compared, for example because a run has no weights and --allow-no-weights is not given.
///
/// Examples:
///   islp-mnist compare output/MNIST/version_0 output/MNIST/version_1
///   islp-mnist compare python.trace rust.trace
///   islp-mnist compare python.trace jax.trace --rtol 1e-3
///   islp-mnist compare --rtol 1e-5 --atol 1e-8 python.safetensors rust.safetensors
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    about = "Compare two runs or two traces: where do they first differ, and by how much?"
)]
pub struct CompareArgs {
    /// The reference: the output folder of a run, or a single file in it
    reference: PathBuf,
    /// The run that should equal the reference: its output folder, or the same file in it
    candidate: PathBuf,
    /// Absolute tolerance, for ports that do not promise the same bits [default: none]
    #[arg(long, value_parser = tolerance, allow_hyphen_values = true)]
    atol: Option<f64>,
    /// Tolerance relative to the reference's number [default: none]
    #[arg(long, value_parser = tolerance, allow_hyphen_values = true)]
    rtol: Option<f64>,
    /// Compare the candidate's OLD with the reference's NEW, gradients and optimizer states too; a * in both stands for any
    /// text; can be given several times [default: none]
    #[arg(long, value_name = "OLD=NEW")]
    rename: Vec<Rename>,
    /// Compare the candidate's columns with the reference's rows in the matrix with this name in the reference, and in its
    /// gradient and optimizer states; can be given several times [default: none]
    #[arg(long, value_name = "NAME")]
    transpose: Vec<String>,
    /// Exit with 0 if everything else is identical or close, even if a run has no weights to compare
    #[arg(long)]
    allow_no_weights: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "must be a number, 0 or more".into())
}

pub fn run(args: &CompareArgs) -> Result<u8> {
    let CompareArgs { atol, rtol, allow_no_weights, .. } = *args;
    let tolerance =
        atol.or(rtol).map(|_| Tolerance { atol: atol.unwrap_or_default(), rtol: rtol.unwrap_or_default() });
    let translation = Translation { renames: args.rename.clone(), transposed: args.transpose.clone() };
    let options = Options { tolerance, rename: weights::canonical_name, translation, allow_no_weights };
    // Exit code 1 would mean that something differs.
    let cannot_compare = |error: Error| UsageError(format!("cannot compare: {}", explain(&error)));
    let report =
        compare(&args.reference, &args.candidate, &options).map_err(|error| cannot_compare(error.into()))?;
    let text = if args.json { report.to_json() } else { report.to_string() };
    print(text.trim_end()).map_err(cannot_compare)?;
    hints::on_comparison(&report).iter().for_each(|hint| say(hint));
    Ok(match report.verdict() {
        Verdict::Identical | Verdict::Close => 0,
        Verdict::Different => 1,
        Verdict::Incomparable => 2,
    })
}
