//! `islp-mnist plot`: the notebook's figure for one or several runs, from their `metrics.csv`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf, absolute};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::hints::UsageError;
use super::output::print_path;
use islp_mnist::chart::{self, Figure, Metric, Name, Picture, Set, Source};
use islp_mnist::util::file;
use islp_mnist::util::path::{has_ending, shown_path};

const METRICS_CSV: &str = "metrics.csv";

/// Plot accuracy, loss or other columns against epoch, for one run or for several in one figure.
///
/// Reads what Lightning's CSVLogger writes, for ISLP or a LightningModule of your own. A cell that is empty, NA, null,
/// None or nan gives no point. Training is drawn as dots and validation as plus signs; with many epochs, as a thick and a
/// thin line.
///
/// Example: islp-mnist plot output/MNIST/version_0 output/MNIST_MLR/version_0 --y loss -o loss.png
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    about = "Plot accuracy, loss or other columns against epoch, for one run or for several in one figure"
)]
pub struct PlotArgs {
    /// The metrics.csv of a run, or its version folder; up to 10
    #[arg(required = true)]
    metrics_csv: Vec<PathBuf>,
    /// The figure, a PNG or an SVG by its file extension; an existing file is replaced
    #[arg(short, long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(figure_file))]
    output: PathBuf,
    /// Columns to draw: accuracy, loss, or one or two by name, such as train_mae_epoch,valid_mae
    ///
    /// A column with "train" in its name is drawn as training, one with "val" as validation; otherwise the first is training
    /// and the second validation. accuracy is the first that exists of train_accuracy_epoch, train_accuracy,
    /// train_acc_epoch, train_acc, train/accuracy, train/acc, accuracy and acc, with the first of valid_accuracy,
    /// val_accuracy, valid_acc, val_acc, validation_accuracy, val/accuracy and val/acc; loss is train_loss,
    /// train_loss_epoch, train/loss or loss, with valid_loss, val_loss, validation_loss or val/loss. Names with valid_ or
    /// val_ may also end in _epoch.
    #[arg(long, default_value = "accuracy", value_name = "METRIC", value_parser = Metric::from_str)]
    y: Metric,
    /// Use a logarithmic y axis; on a linear one, the first training loss makes the rest look flat
    #[arg(long)]
    logy: bool,
    /// Draw only one of the two sets
    #[arg(long)]
    set: Option<OneSet>,
    /// Width in pixels, 300 to 2000
    #[arg(long, default_value = "600", value_name = "PIXELS", value_parser = pixels)]
    width: usize,
    /// Height in pixels, 300 to 2000
    #[arg(long, default_value = "600", value_name = "PIXELS", value_parser = pixels)]
    height: usize,
    /// Name of a run in the legend; give one for each METRICS_CSV [default: the part of its path that differs]
    #[arg(long = "label", value_name = "NAME")]
    labels: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OneSet {
    /// The training images
    Training,
    /// The validation images
    Validation,
}

fn pixels(text: &str) -> Result<usize, String> {
    let pixels = text.parse().ok().filter(|pixels| (300..=2000).contains(pixels));
    pixels.ok_or_else(|| "must be a whole number from 300 to 2000".into())
}

fn figure_file(path: PathBuf) -> Result<PathBuf, &'static str> {
    if has_ending(&path, "png") || has_ending(&path, "svg") {
        Ok(path)
    } else {
        Err("must end in .png or .svg")
    }
}

pub fn run(args: &PlotArgs) -> Result<u8> {
    let (count, labels) = (args.metrics_csv.len(), args.labels.len());
    ensure!(
        labels == 0 || labels == count,
        UsageError(format!(
            "{labels} --label for {count} METRICS_CSV; give one for each, in their order, or none"
        ))
    );
    let unfit = |label: &&String| label.trim().is_empty() || label.contains(char::is_control);
    if let Some(label) = args.labels.iter().find(unfit) {
        return Err(UsageError(format!("--label {label:?} is blank or contains control characters")).into());
    }
    let files = args.metrics_csv.iter().map(|path| metrics_csv(path)).collect::<Result<Vec<_>>>()?;
    let names = match labels {
        0 if count == 1 => vec![Name::Given(String::new())],
        0 => names(&files)?.into_iter().map(Name::Path).collect(),
        _ => args.labels.iter().cloned().map(Name::Given).collect(),
    };
    let sources = names.into_iter().zip(files).map(|(name, metrics_csv)| Source { name, metrics_csv });
    let is_column = |label: &String| match &args.y {
        Metric::Columns { training, validation } => {
            [training, validation].into_iter().flatten().any(|name| name == label)
        }
        Metric::Accuracy | Metric::Loss => false,
    };
    let mut figure =
        Figure::new(args.y.clone(), &sources.collect::<Vec<_>>()).map_err(|error| match error {
            chart::Error::SameName { .. } => {
                UsageError(format!("{error}; tell them apart with --label")).into()
            }
            chart::Error::TooManyRuns { .. } => UsageError(error.to_string()).into(),
            chart::Error::Glyph { ref label, .. } if is_column(label) => {
                UsageError(format!("--y {error}; give the column another name")).into()
            }
            chart::Error::Glyph { .. } => {
                UsageError(format!("{error}; name the run differently with --label")).into()
            }
            error => anyhow::Error::from(error),
        })?;
    figure.size = (args.width, args.height);
    figure.log_y = args.logy;
    if let Some(set) = args.set {
        let set = match set {
            OneSet::Training => Set::Training,
            OneSet::Validation => Set::Validation,
        };
        ensure!(figure.keep(set), "there is nothing to draw for {set}; leave out --set");
    }
    let output = &args.output;
    let bytes = if has_ending(output, "svg") { figure.to_svg()?.into_bytes() } else { figure.to_png()? };
    file::write(output, &bytes)?;
    print_path(output)?;
    Ok(0)
}

/// Returns the path itself, or that of the file in a version folder.
fn metrics_csv(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(METRICS_CSV);
    ensure!(
        file.exists(),
        "{}: contains no {METRICS_CSV}; name a version folder such as version_0",
        path.display()
    );
    Ok(file)
}

/// Returns the shortest ends of the paths, all with the same number of components, that are distinct: `MNIST/version_0`
/// and `MNIST_MLR/version_0`, or `version_0` and `version_1`.
fn names(files: &[PathBuf]) -> Result<Vec<String>> {
    let paths = files.iter().map(|file| parts(file)).collect::<Result<Vec<_>>>()?;
    let longest = paths.iter().map(Vec::len).max().unwrap_or(0);
    for depth in 1..=longest {
        let end = |parts: &Vec<String>| parts[parts.len().saturating_sub(depth)..].join("/");
        let names: Vec<String> = paths.iter().map(end).collect();
        if names.iter().collect::<HashSet<_>>().len() == names.len() {
            return Ok(names);
        }
    }
    let mut seen = HashSet::new();
    let twice = files.iter().zip(&paths).find(|(_, parts)| !seen.insert(*parts));
    let twice = twice.map_or(String::new(), |(file, _)| file.display().to_string());
    Err(UsageError(format!("{twice} is given twice; leave one out, or name both with --label")).into())
}

/// Returns the components of a path, without a metrics.csv at its end.
fn parts(file: &Path) -> Result<Vec<String>> {
    let path = absolute(file).with_context(|| file.display().to_string())?;
    let path = if path.file_name() == Some(OsStr::new(METRICS_CSV)) {
        path.parent().unwrap_or(&path)
    } else {
        &path
    };
    let named = path.components().filter(|part| *part != Component::RootDir);
    Ok(named.map(|part| shown_path(part.as_ref())).collect())
}
