//! `islp-mnist summary`: a model's layers, as torchinfo prints them.

use anyhow::Result;
use clap::Args;
use tch::Device;
use tch::nn::VarStore;

use super::hints::UsageError;
use super::output::print;
use crate::cli::options::model;
use islp_mnist::notebook::models::Model;
use islp_mnist::run::AT_LEAST_ONE;
use islp_mnist::torch::Generator;
use islp_mnist::torchinfo::summary;
use islp_mnist::torchvision::SIDE;

/// Print a model's layers with their shapes and parameters, as torchinfo does.
///
/// Example: islp-mnist summary --model mlr
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// The model
    #[arg(long, value_parser = model(), default_value = "mlp")]
    model: Model,
    /// Images in the batch that the shapes are for
    #[arg(long, default_value = "256", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    batch_size: usize,
}

pub fn run(args: &SummaryArgs) -> Result<u8> {
    let vs = VarStore::new(Device::Cpu);
    let model = args.model.build(&vs.root(), &Generator::new(0))?;
    let summary = summary(&*model, &[args.batch_size as i64, 1, SIDE, SIDE])
        .map_err(|error| UsageError(format!("--batch-size {}: {error}", args.batch_size)))?;
    print(&summary.to_string())?;
    Ok(0)
}
