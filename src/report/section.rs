//! The section of one run on a page.

use askama::Template;
use tch::vision::dataset::Dataset;

use super::dropout::why_validation_is_above;
use super::pictures::{CHART, Chart, Picture, mistake, percent, thousands, weight_pictures};
use super::predictions::{Bin, Predictions, wilson};
use super::run::{Fields, Run, command, facts};
use super::{Error, TestImages};
use crate::chart::{Figure, Lines, Metric, Picture as _};
use crate::islp::SimpleModule;
use crate::lightning::repr;
use crate::util::text::shown;

/// Mistakes that a page shows.
const MAX_MISTAKES: usize = 25;
/// Metrics other than accuracy and loss that a page shows.
const MAX_OTHERS: usize = 6;

/// The section of one run.
#[derive(Template)]
#[template(path = "section.html")]
pub struct Section {
    /// Number in the anchor for links within the page.
    pub id: usize,
    pub name: String,
    pub class_name: &'static str,
    pub figures: Vec<Chart>,
    /// Why validation is above training, if it is.
    pub why: Option<String>,
    pub test: Option<Test>,
    /// Why there is no test, as a sentence.
    pub without_test: String,
    /// Sections of run.json, each with its title.
    pub facts: Vec<(&'static str, Fields)>,
    /// Command that repeats the run.
    pub command: Option<String>,
}

/// Results on the test images.
pub struct Test {
    pub images: String,
    pub right: String,
    pub percent: String,
    pub accuracy: String,
    pub loss: String,
    pub digits: Vec<Digit>,
    /// The accuracy at the left end of the digits' bars, in percent; the right end is 100 %.
    pub lowest: f64,
    pub matrix: Vec<Vec<Cell>>,
    pub error: String,
    pub reliability: Chart,
    pub bins: Vec<[String; 3]>,
    pub mistakes: Vec<Picture>,
    pub weights: Vec<Picture>,
    pub weights_sentence: &'static str,
}

/// A digit's row in the table of accuracies.
pub struct Digit {
    pub images: u64,
    pub right: u64,
    pub accuracy: String,
    pub interval: String,
    /// Start and width of the interval in the row's bar, and place of the accuracy, in percent of the bar's width.
    pub bar: Option<[f64; 3]>,
}

/// A cell of the confusion matrix, with a shade from 0 to 8.
pub struct Cell {
    pub count: i64,
    pub shade: usize,
    pub is_right: bool,
}

impl Section {
    pub fn new(run: &Run, images: &TestImages, id: usize) -> Result<Self, Error> {
        let model = run.model.as_ref().ok();
        Ok(Self {
            id,
            name: run.name.clone(),
            class_name: model.map_or("", |(module, _)| module.model.info().class_name),
            figures: charts(run, "")?,
            why: why_validation_is_above(run, images)?,
            test: model
                .map(|(module, predictions)| Test::new(module, predictions, images.get()?))
                .transpose()?,
            without_test: run.model.as_ref().err().cloned().unwrap_or_default(),
            facts: facts(run),
            command: command(run),
        })
    }
}

/// Draws the metrics in metrics.csv against epoch; `note` ends the captions.
pub fn charts(run: &Run, note: &str) -> Result<Vec<Chart>, Error> {
    let Some(csv) = &run.metrics_csv else { return Ok(vec![]) };
    let mut charts = vec![];
    for metric in metrics(csv) {
        let name = name_of(&metric);
        let Ok(mut figure) = Figure::from_csv(metric, csv) else { continue };
        figure.size = CHART;
        let axis = if *figure.metric() == Metric::Loss { figure.use_log_axis() } else { "" };
        let caption = format!("{name}{axis} of {} against epoch, training and validation{note}", run.name);
        charts.push(Chart::new(&figure.to_svg()?, caption));
    }
    Ok(charts)
}

/// The metrics that a page shows, accuracy and loss first.
pub fn metrics(csv: &[u8]) -> impl Iterator<Item = Metric> {
    [Metric::Accuracy, Metric::Loss].into_iter().chain(Metric::others(csv).into_iter().take(MAX_OTHERS))
}

pub fn name_of(metric: &Metric) -> String {
    match metric {
        Metric::Accuracy => "Accuracy".into(),
        Metric::Loss => "Loss".into(),
        Metric::Columns { training, validation } => {
            let columns = [training, validation].into_iter().flatten().map(|column| shown(column));
            columns.collect::<Vec<_>>().join(" and ")
        }
    }
}

impl Test {
    fn new(module: &SimpleModule, predictions: &Predictions, mnist: &Dataset) -> Result<Self, Error> {
        let images = predictions.truths.len();
        let right = predictions.right();
        let (lowest, digits) = digits(&predictions.confusion_matrix);
        let calibration = &predictions.calibration;
        let bins = calibration.bins.iter().map(|bin| {
            let count = f64::from(bin.fraction) * images as f64;
            [percent(bin.confidence.into()), percent(bin.accuracy.into()), thousands(count.round() as usize)]
        });
        let mistakes = predictions.worst_mistakes(MAX_MISTAKES).into_iter();
        let (weights, weights_sentence) = weight_pictures(module)?;
        Ok(Self {
            images: thousands(images),
            right: thousands(right),
            percent: percent(right as f64 / images as f64),
            accuracy: repr(predictions.metrics.accuracy),
            loss: repr(predictions.metrics.loss),
            lowest: 100.0 * lowest,
            digits,
            matrix: matrix(&predictions.confusion_matrix),
            error: percent(calibration.error.into()),
            reliability: reliability(predictions)?,
            bins: bins.collect(),
            mistakes: mistakes.map(|image| mistake(predictions, mnist, image)).collect::<Result<_, _>>()?,
            weights,
            weights_sentence,
        })
    }
}

/// Returns the left end of the digits' bars, the lowest end of their intervals rounded down to a whole percent, and the rows.
fn digits(matrix: &[Vec<i64>]) -> (f64, Vec<Digit>) {
    let rows: Vec<_> = matrix
        .iter()
        .enumerate()
        .map(|(digit, row)| (row[digit] as u64, row.iter().sum::<i64>() as u64))
        .collect();
    let intervals: Vec<_> = rows.iter().map(|&(right, images)| wilson(right, images)).collect();
    let lowest = intervals.iter().flatten().map(|interval| interval[1]).fold(1.0, f64::min);
    let lowest = ((100.0 * lowest).floor() / 100.0).min(0.99);
    let place = |value: f64| 100.0 * (value - lowest) / (1.0 - lowest).max(1e-9);
    let digit = |((right, images), interval): ((u64, u64), Option<[f64; 3]>)| Digit {
        images,
        right,
        accuracy: interval.map_or("–".into(), |[accuracy, ..]| percent(accuracy)),
        interval: interval
            .map_or("–".into(), |[_, low, high]| format!("{:.2} to {}", 100.0 * low, percent(high))),
        bar: interval.map(|[accuracy, low, high]| [place(low), place(high) - place(low), place(accuracy)]),
    };
    (lowest, rows.into_iter().zip(intervals).map(digit).collect())
}

/// Shades each cell by the square root of its share of the row, so that a few mistakes are visible.
fn matrix(matrix: &[Vec<i64>]) -> Vec<Vec<Cell>> {
    let cells = |(truth, row): (usize, &Vec<i64>)| {
        let all = row.iter().sum::<i64>().max(1) as f64;
        let cell = |(guess, &count): (usize, &i64)| {
            let shade = (8.0 * (count as f64 / all).sqrt()).ceil() as usize;
            Cell { count, shade, is_right: truth == guess }
        };
        row.iter().enumerate().map(cell).collect()
    };
    matrix.iter().enumerate().map(cells).collect()
}

fn reliability(predictions: &Predictions) -> Result<Chart, Error> {
    let bins = &predictions.calibration.bins;
    let images = predictions.truths.len() as f64;
    let point = |bin: &Bin| {
        let count = (f64::from(bin.fraction) * images).round();
        let right = (f64::from(bin.accuracy) * count).round();
        let [accuracy, low, high] = wilson(right as u64, count as u64)?;
        Some((bin.confidence.into(), [low, accuracy, high]))
    };
    let mut lines = Lines::new("confidence", "accuracy");
    lines.size = CHART;
    lines.add_intervals("This model", bins.iter().filter_map(point).collect());
    lines.add_line("Perfect calibration", vec![(0.0, 0.0), (1.0, 1.0)]);
    let error = percent(predictions.calibration.error.into());
    let caption = format!(
        "Accuracy against confidence in {} non-empty bins, with 95 % Wilson intervals; expected calibration error {error}",
        bins.len()
    );
    Ok(Chart::new(&lines.to_svg()?, caption))
}
