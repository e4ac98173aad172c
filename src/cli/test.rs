//! `islp-mnist test`: a model's results on the test images.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use super::options::DataDir;
use super::output::print;
use super::setup::{note_other_data, set_up};
use islp_mnist::islp::Metrics;
use islp_mnist::lightning::{evaluate_test, terminal_width, test_list, test_table};
use islp_mnist::notebook::weights;
use islp_mnist::run::{AT_LEAST_ONE, DeviceOption};
use islp_mnist::torchvision;

/// Test a trained model: the notebook's table, accuracy by digit, the confusion matrix.
///
/// --checkpoint takes a .safetensors file of weights, a checkpoint, or a run's folder; from a folder, its last checkpoint
/// is read or, if it has none, its model.safetensors. Rust or Python may have written them. A .pt or .ckpt file is a
/// pickle, which can run any program when it is loaded, so it is refused; scripts/parity_checkpoint.py converts one that
/// you trust.
///
/// With --json, the object's fields are
///   model              the name of the model's class
///   test_loss          mean cross-entropy in nats
///   test_accuracy      from 0 to 1
///   accuracy_by_digit  from 0 to 1 for each digit from 0 to 9; null for a digit without images
///   confusion_matrix   numbers of images, with a row for each true digit and a column for each predicted digit
///
/// Example: islp-mnist test --checkpoint output/MNIST/version_0
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    about = "Test a trained model: the notebook's table, accuracy by digit, the confusion matrix"
)]
pub struct TestArgs {
    /// The weights: a .safetensors file or the folder of a run
    #[arg(long, value_name = "FILE_OR_VERSION_DIR")]
    checkpoint: PathBuf,
    #[command(flatten)]
    data: DataDir,
    /// Images per batch; the last digits of the results can depend on it
    #[arg(long, default_value = "256", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    batch_size: usize,
    /// Device to compute on: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "auto")]
    device: DeviceOption,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TestArgs) -> Result<u8> {
    let device = set_up(args.device, None)?;
    let module = weights::load(&args.checkpoint, device)?;
    let data_dir = args.data.or(None);
    let mnist = torchvision::load(&data_dir, device)?;
    let predictions = evaluate_test(&module, &mnist, args.batch_size)?;
    ensure!(
        predictions.is_finite()?,
        "the outputs of the model in {} are not all finite; use another checkpoint",
        args.checkpoint.display()
    );
    let metrics = predictions.compute(&module)?;
    let matrix = predictions.confusion_matrix()?;
    note_other_data(&data_dir)?;

    if args.json {
        let Metrics { loss, accuracy } = metrics;
        let by_digit: Vec<_> =
            matrix.iter().enumerate().map(|(digit, row)| fraction(row[digit], row)).collect();
        print(
            &json!({
                "model": module.model.info().class_name,
                "test_loss": f64::from(loss),
                "test_accuracy": f64::from(accuracy),
                "accuracy_by_digit": by_digit,
                "confusion_matrix": matrix,
            })
            .to_string(),
        )?;
        return Ok(0);
    }
    print(&test_table(&metrics, terminal_width()))?;
    print(&test_list(&metrics))?;
    print(&digit_table(&matrix))?;
    Ok(0)
}

/// Returns the fraction of a label's images that are predicted correctly; none without images.
fn fraction(right: i64, row: &[i64]) -> Option<f64> {
    let all: i64 = row.iter().sum();
    (all > 0).then(|| right as f64 / all as f64)
}

/// Formats a row for each digit: its number of images, the accuracy on them, and the digits predicted.
fn digit_table(matrix: &[Vec<i64>]) -> String {
    let counts = |row: &[i64]| row.iter().map(|count| format!(" {count:>5}")).collect::<String>();
    let digits: Vec<i64> = (0..matrix.len() as i64).collect();
    let mut lines = vec![
        String::new(),
        format!("{:<6}{:>7}{:>10}   taken for", "digit", "images", "accuracy"),
        format!("{:<23}  {}", "", counts(&digits)),
    ];
    for (digit, row) in matrix.iter().enumerate() {
        let accuracy = fraction(row[digit], row).map_or("–".into(), |accuracy| format!("{accuracy:.4}"));
        lines.push(format!("{digit:<6}{:>7}{accuracy:>10}  {}", row.iter().sum::<i64>(), counts(row)));
    }
    lines.join("\n")
}
