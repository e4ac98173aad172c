//! Pictures of a study.

use std::path::Path;

use super::Error;
use super::logs::{Log, MAX_CSV, logs_in};
use super::run::{Row, Varied, newest_version};
use super::summary::{
    Distribution, FEW, IMAGES, Interval, Summary, binomial_error, mean, printed, printed_in_labs, quantile,
};
use crate::chart::{Bands, Bars, Metric, Picture as _, Stack, valid_points};
use crate::run::End;
use crate::util::file;
use crate::util::text::count as counted;

/// Fraction of the runs below a band, and of those above it.
const OUTSIDE: f64 = 0.05;

/// Characters of a logger's name in a file name.
const MAX_NAME: usize = 100;

/// Name of the only picture that needs more than the rows.
pub(crate) const ACCURACY: &str = "accuracy";

/// A picture of a study.
///
/// ```
/// use islp_mnist::study::{Summary, pictures, rows_in};
///
/// let folder = "output/study".as_ref();
/// let rows = rows_in(folder)?;
/// let pictures = pictures(folder, &rows, &Summary::new(&rows), (600, 450))?;
/// assert!(pictures.iter().any(|picture| picture.name == "sources"));
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Picture {
    /// Name of its files, without extension.
    pub name: String,
    /// Description of the picture.
    pub caption: String,
    /// The PNG file.
    pub png: Vec<u8>,
    /// The SVG file.
    pub svg: String,
}

/// Draws the pictures of a study from its rows and from the `metrics.csv` of its runs in `folder`. Runs without a
/// `metrics.csv` are left out; if none has one, so is the picture of the validation accuracy.
///
/// # Errors
/// A file exists and can't be read.
pub fn pictures(
    folder: &Path,
    rows: &[Row],
    summary: &Summary,
    size: (usize, usize),
) -> Result<Vec<Picture>, Error> {
    let mut pictures = vec![];
    if let Some((mut bands, caption)) = accuracy(folder, rows, summary)? {
        bands.size = size;
        pictures.push(Picture { name: ACCURACY.into(), caption, png: bands.to_png()?, svg: bands.to_svg()? });
    }
    let of_seeds =
        |distribution: &&Distribution| distribution.is_of_whole_runs() && distribution.accuracies.len() > 1;
    for distribution in summary.distributions.iter().filter(of_seeds) {
        let (mut stack, caption) = stack(distribution);
        stack.size = size;
        let name = file_name(distribution, &pictures);
        pictures.push(Picture { name, caption, png: stack.to_png()?, svg: stack.to_svg()? });
    }
    if let Some((mut bars, caption)) = sources(summary) {
        bars.size = size;
        pictures.push(Picture { name: "sources".into(), caption, png: bars.to_png()?, svg: bars.to_svg()? });
    }
    Ok(pictures)
}

/// "test_accuracy_mlp". If two loggers' names differ only in other characters than letters and digits, the second one's file
/// has a number.
fn file_name(distribution: &Distribution, before: &[Picture]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let plain = distribution.model.to_string().replace(|c| !is_plain(c), "_");
    let name = format!("test_accuracy_{}", plain.chars().take(MAX_NAME).collect::<String>());
    let is_free = |name: &String| before.iter().all(|picture| picture.name != *name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

/// Draws validation accuracy against epoch, over the seeds of each model.
fn accuracy(folder: &Path, rows: &[Row], summary: &Summary) -> Result<Option<(Bands, String)>, Error> {
    let logs = if rows.iter().any(|row| row.varied == Varied::Run) { logs_in(folder)? } else { vec![] };
    let mut models = vec![];
    let mut has_gap = false;
    for distribution in summary.distributions.iter().filter(|distribution| distribution.is_of_whole_runs()) {
        let mut epochs: Vec<(f64, Vec<f64>)> = vec![];
        let mut count = 0;
        let is_of = |row: &&Row| row.model == distribution.model && row.varied == distribution.varied;
        for row in rows.iter().filter(is_of).filter(|row| row.end == End::MaxEpochs) {
            let version = match row.key() {
                Some(key) => newest_version(&folder.join(key.folder())),
                None => logs.iter().find(|log| is_log_of(log, row)).map(|log| log.path.clone()),
            };
            let Some(version) = version else { continue };
            let csv = match file::read(&version.join("metrics.csv"), MAX_CSV) {
                Ok(csv) => csv,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            let points = valid_points(Metric::Accuracy, &csv).unwrap_or_default();
            count += usize::from(!points.is_empty());
            for (epoch, value) in points {
                match epochs.iter_mut().find(|(at, _)| *at == epoch) {
                    Some((_, values)) => values.push(value),
                    None => epochs.push((epoch, vec![value])),
                }
            }
        }
        // One run may validate less often than the next.
        epochs.sort_by(|a, b| a.0.total_cmp(&b.0));
        has_gap |= epochs.is_empty() && !distribution.accuracies.is_empty();
        if !epochs.is_empty() {
            models.push((distribution.model.class_name(), distribution.unit(), count, epochs));
        }
    }
    // An earlier picture shows the runs whose folders are gone.
    if has_gap && folder.join(format!("{ACCURACY}.svg")).exists() {
        return Ok(None);
    }
    // With so few values there is no 5 % quantile.
    let is_few = models.iter().any(|(.., count, _)| *count < FEW);
    let (outside, band) = if is_few { (0.0, "lowest to highest") } else { (OUTSIDE, "central 90 %") };
    let mut bands = Bands::new("epoch", "validation accuracy", band);
    let mut drawn = vec![];
    for (name, unit, count, epochs) in &models {
        let ends = |values: &[f64]| [outside, 0.5, 1.0 - outside].map(|q| quantile(values, q));
        bands.add(name, epochs.iter().map(|(epoch, values)| (*epoch, ends(values))).collect());
        drawn.push(format!("{name} over {}", counted(*count, unit)));
    }
    let caption = format!("Validation accuracy against epoch, median and {band}: {}", drawn.join(", "));
    Ok((!drawn.is_empty()).then_some((bands, caption)))
}

/// True if the row is this log's.
fn is_log_of(log: &Log, row: &Row) -> bool {
    log.number == row.seed && row.model.to_string() == log.name
}

/// Draws the test accuracies of one model, one dot for each seed.
fn stack(distribution: &Distribution) -> (Stack, String) {
    let Distribution { model, accuracies, .. } = distribution;
    let center = mean(accuracies);
    let error = binomial_error(center, IMAGES);
    let unit = distribution.unit();
    let (dot, dots) = (format!("a {unit}"), format!("{unit}s"));
    let range = ("mean ± binomial error", [center - error, center + error]);
    let mut stack = Stack::new(["test accuracy", &dots], &dot, accuracies.clone(), range);
    let mut printed_too = "";
    if let Some(model) = distribution.in_notebook() {
        stack.line("the notebook prints", printed(model));
        stack.mark("ISLP_labs prints", printed_in_labs(model));
        printed_too = ", the values that the notebook and versions of the book's own, ISLP_labs, print";
    }
    let caption = format!(
        "Test accuracy of {} over {}{printed_too}, and the binomial error of {IMAGES} test images around the mean",
        model.class_name(),
        counted(accuracies.len(), unit),
    );
    (stack, caption)
}

/// Draws how much each source of randomness contributes, in percentage points of test accuracy.
fn sources(summary: &Summary) -> Option<(Bars, String)> {
    let bars: Vec<_> = summary
        .distributions
        .iter()
        .filter(|distribution| distribution.accuracies.len() > 1)
        .map(|distribution| {
            let name = format!("{}, {}", distribution.model, distribution.varied);
            let Interval { value, low, high } = distribution.standard_deviation;
            (name, [value, low, high].map(|fraction| 100.0 * fraction))
        })
        .collect();
    let varied =
        summary.distributions.iter().any(|distribution| matches!(distribution.varied, Varied::Source(_)));
    let caption = "Standard deviation of the test accuracy, with 95 % intervals (bootstrap), when one source of randomness \
                   varies; seed varies all sources but the split";
    let x_name = "standard deviation, percentage points";
    (varied && !bars.is_empty()).then(|| (Bars::new(x_name, bars), caption.to_string()))
}
