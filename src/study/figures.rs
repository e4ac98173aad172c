//! Pictures of a study.

use std::path::Path;

use super::Error;
use super::run::{Row, Varied, newest_version};
use super::summary::{
    Distribution, IMAGES, Summary, binomial_error, mean, printed, printed_in_labs, quantile,
};
use crate::chart::{Bands, Bars, Metric, Picture as _, Stack, valid_points};
use crate::notebook::models::Model;
use crate::run::End;
use crate::util::file;
use crate::util::text::count as counted;

/// A hundred thousand epochs are smaller.
const MAX_CSV: u64 = 16 << 20;
/// Fraction of the runs below a band, and of those above it.
const OUTSIDE: f64 = 0.05;

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
    if let Some((mut bands, caption)) = accuracy(folder, rows)? {
        bands.size = size;
        pictures.push(Picture { name: ACCURACY.into(), caption, png: bands.to_png()?, svg: bands.to_svg()? });
    }
    let of_seeds = |distribution: &&Distribution| {
        distribution.varied == Varied::Seed && distribution.accuracies.len() > 1
    };
    for distribution in summary.distributions.iter().filter(of_seeds) {
        let (mut stack, caption) = stack(distribution);
        stack.size = size;
        let name = format!("test_accuracy_{}", distribution.model);
        pictures.push(Picture { name, caption, png: stack.to_png()?, svg: stack.to_svg()? });
    }
    if let Some((mut bars, caption)) = sources(summary) {
        bars.size = size;
        pictures.push(Picture { name: "sources".into(), caption, png: bars.to_png()?, svg: bars.to_svg()? });
    }
    Ok(pictures)
}

/// Draws validation accuracy against epoch, over the seeds of each model.
fn accuracy(folder: &Path, rows: &[Row]) -> Result<Option<(Bands, String)>, Error> {
    let mut bands = Bands::new("epoch", "Accuracy");
    let mut drawn = vec![];
    for model in Model::ALL {
        let mut epochs: Vec<(f64, Vec<f64>)> = vec![];
        let mut count = 0;
        let runs = rows
            .iter()
            .filter(|row| row.model == model && row.varied == Varied::Seed && row.end == End::MaxEpochs);
        for row in runs {
            let Some(version) = newest_version(&folder.join(row.key().folder())) else { continue };
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
        if epochs.is_empty() {
            continue;
        }
        let ends = |values: &[f64]| [OUTSIDE, 0.5, 1.0 - OUTSIDE].map(|q| quantile(values, q));
        bands.add(model.class_name(), epochs.iter().map(|(epoch, values)| (*epoch, ends(values))).collect());
        drawn.push(format!("{} over {}", model.class_name(), counted(count, "seed")));
    }
    let caption = format!("Validation accuracy against epoch, median and central 90 %: {}", drawn.join(", "));
    Ok((!drawn.is_empty()).then_some((bands, caption)))
}

/// Draws the test accuracies of one model, one dot for each seed.
fn stack(distribution: &Distribution) -> (Stack, String) {
    let Distribution { model, accuracies, .. } = distribution;
    let center = mean(accuracies);
    let error = binomial_error(center, IMAGES);
    let mut stack = Stack::new(
        "test accuracy",
        "seeds",
        accuracies.clone(),
        ("notebook as printed", printed(*model)),
        ("mean, binomial error", [center - error, center + error]),
    );
    stack.mark("printed in ISLP_labs", printed_in_labs(*model));
    let caption = format!(
        "Test accuracy of {} over {}, with the values that the notebook and versions of the book's own, ISLP_labs, print, \
         and the binomial error of {IMAGES} test images around the mean",
        model.class_name(),
        counted(accuracies.len(), "seed")
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
            (name, 100.0 * distribution.standard_deviation)
        })
        .collect();
    let varied = summary.distributions.iter().any(|distribution| distribution.varied != Varied::Seed);
    let caption = "Standard deviation of the test accuracy in percentage points when one source of randomness varies; \
                   seed varies all sources but the split";
    (varied && !bars.is_empty()).then(|| (Bars::new("standard deviation, %", bars), caption.to_string()))
}
