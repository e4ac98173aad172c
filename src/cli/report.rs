//! `islp-mnist report`: a page on a run, on two or more compared, or on a study.

use std::iter;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use super::options::DataDir;
use super::output::print_path;
use super::setup::{note_other_data, set_up};
use islp_mnist::report::{self, TestImages};
use islp_mnist::run::DeviceOption;
use islp_mnist::util::{file, path::has_ending};

/// Make a page of a run, of two that are compared, or of several: one HTML file that needs nothing else.
///
/// For one run, the page shows accuracy and loss, the test, each digit, the confusion matrix, how sure the model is, its
/// worst mistakes, its weights, and how it was run. For two, the reference first, it shows which is better and whether
/// chance explains it, or, if model and options are the same, whether and where they differ. For three to ten, it shows
/// their results in one table and their curves together.
///
/// A run is given by its version folder, or by a folder of version folders, such as the output folder of `reproduce` with
/// both models. A version folder of Lightning needs the weights as model.safetensors. Of a model that is not the notebook's,
/// the page shows only how it was trained. For a study's folder, the page is on all its seeds.
///
/// Examples:
///   islp-mnist report output/MNIST/version_0 -o mlp.html
///   islp-mnist report output/MNIST/version_0 output/MNIST_MLR/version_0 -o mlp_and_mlr.html
///   islp-mnist report output/study -o study.html
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, about = "Make a page of a run, of two that are compared, or of several")]
pub struct ReportArgs {
    /// The run, or the reference
    run: PathBuf,
    /// The run to compare with it, and further ones
    others: Vec<PathBuf>,
    /// The page; an existing file is replaced
    #[arg(short, long, value_name = "FILE.html", value_parser = PathBufValueParser::new().try_map(page_file))]
    output: PathBuf,
    #[command(flatten)]
    data: DataDir,
    /// Device to compute on: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "auto")]
    device: DeviceOption,
}

fn page_file(path: PathBuf) -> Result<PathBuf, &'static str> {
    if has_ending(&path, "html") { Ok(path) } else { Err("must end in .html") }
}

pub fn run(args: &ReportArgs) -> Result<u8> {
    let html = match &args.others[..] {
        [] if report::is_study(&args.run) => report::study(&args.run)?,
        others => {
            let device = set_up(args.device, None)?;
            let data_dir = args.data.or(None);
            let images = TestImages::new(&data_dir, device);
            let html = match others {
                [] => report::page(&[&args.run], &images)?,
                [candidate] => report::comparison(&args.run, candidate, &images)?,
                others => {
                    let runs: Vec<&Path> =
                        iter::once(&args.run).chain(others).map(PathBuf::as_path).collect();
                    report::many(&runs, &images)?
                }
            };
            if images.are_loaded() {
                note_other_data(&data_dir)?;
            }
            html
        }
    };
    file::write(&args.output, html.as_bytes())?;
    print_path(&args.output)?;
    Ok(0)
}
