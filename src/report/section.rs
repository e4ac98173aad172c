//! A run as its page shows it.

use askama::Template;
use tch::vision::dataset::Dataset;

use super::Error;
use super::facts::{command, facts};
use super::format::{CHART, Chart, percent, thousands};
use super::pictures::{Picture, mistake, weight_pictures};
use super::predictions::Predictions;
use super::run::Run;
use super::statistics::wilson;
use crate::chart::{Figure, Lines, Metric, Picture as _};
use crate::islp::module::SimpleModule;
use crate::lightning::repr;

/// How many mistakes a page shows.
const MAX_MISTAKES: usize = 25;

/// What a page says of one run.
#[derive(Template)]
#[template(path = "section.html")]
pub struct Section {
    /// For the links within the page.
    pub id: usize,
    pub name: String,
    pub class_name: &'static str,
    pub figures: Vec<Chart>,
    pub test: Option<Test>,
    /// By section of run.json: name and value.
    pub facts: Vec<(&'static str, Vec<(String, String)>)>,
    /// What runs it again.
    pub command: Option<String>,
}

/// What the model makes of the test images.
pub struct Test {
    pub images: String,
    pub right: String,
    pub percent: String,
    pub accuracy: String,
    pub loss: String,
    pub digits: Vec<Digit>,
    pub matrix: Vec<Vec<Cell>>,
    pub error: String,
    pub reliability: Chart,
    pub bins: Vec<[String; 3]>,
    pub mistakes: Vec<Picture>,
    pub weights: Vec<Picture>,
    pub weights_say: &'static str,
}

/// A digit's row: how often it is recognized, between which ends that may lie.
pub struct Digit {
    pub images: u64,
    pub right: u64,
    pub accuracy: String,
    pub interval: String,
    /// Where the interval and the accuracy lie in the row's bar, in percent of its width.
    pub bar: Option<[f64; 3]>,
}

/// A cell of the confusion matrix, with a shade from 0 to 8.
pub struct Cell {
    pub count: i64,
    pub shade: usize,
    pub is_right: bool,
}

impl Section {
    pub fn new(run: &Run, mnist: &Dataset, id: usize) -> Result<Self, Error> {
        let model = run.model.as_ref();
        Ok(Self {
            id,
            name: run.name.clone(),
            class_name: model.map_or("", |(module, _)| module.model.info().class_name),
            figures: figures(run)
                .into_iter()
                .map(|(figure, caption)| Ok(Chart::new(&figure.to_svg()?, caption)))
                .collect::<Result<_, Error>>()?,
            test: model.map(|(module, predictions)| Test::new(module, predictions, mnist)).transpose()?,
            facts: facts(run),
            command: command(run),
        })
    }
}

/// Accuracy and loss against epoch, as far as metrics.csv has them.
pub fn figures(run: &Run) -> Vec<(Figure, String)> {
    let Some(csv) = &run.metrics_csv else { return vec![] };
    let mut figures = vec![];
    for (metric, name) in [(Metric::Accuracy, "Accuracy"), (Metric::Loss, "Loss")] {
        let Ok(mut figure) = Figure::from_csv(metric, csv) else { continue };
        figure.size = CHART;
        // Of losses that are all 0 a log axis shows nothing.
        figure.log_y = *figure.metric() == Metric::Loss;
        figure.log_y = figure.log_y && figure.to_svg().is_ok();
        let axis = if figure.log_y { ", on a log axis," } else { "" };
        figures
            .push((figure, format!("{name}{axis} of {} against epoch, training and validation", run.name)));
    }
    figures
}

impl Test {
    fn new(module: &SimpleModule, predictions: &Predictions, mnist: &Dataset) -> Result<Self, Error> {
        let images = predictions.truths.len();
        let right = (0..images).filter(|&image| predictions.is_right(image)).count();
        let calibration = &predictions.calibration;
        let bins = calibration.bins.iter().map(|bin| {
            let count = f64::from(bin.fraction) * images as f64;
            [percent(bin.confidence.into()), percent(bin.accuracy.into()), thousands(count.round() as usize)]
        });
        let mistakes = predictions.worst_mistakes(MAX_MISTAKES).into_iter();
        let (weights, weights_say) = weight_pictures(module)?;
        Ok(Self {
            images: thousands(images),
            right: thousands(right),
            percent: percent(right as f64 / images as f64),
            accuracy: repr(predictions.metrics.accuracy),
            loss: repr(predictions.metrics.loss),
            digits: digits(&predictions.confusion_matrix),
            matrix: matrix(&predictions.confusion_matrix),
            error: percent(calibration.error.into()),
            reliability: reliability(predictions)?,
            bins: bins.collect(),
            mistakes: mistakes.map(|image| mistake(predictions, mnist, image)).collect::<Result<_, _>>()?,
            weights,
            weights_say,
        })
    }
}

fn digits(matrix: &[Vec<i64>]) -> Vec<Digit> {
    let rows: Vec<_> = matrix
        .iter()
        .enumerate()
        .map(|(digit, row)| (row[digit] as u64, row.iter().sum::<i64>() as u64))
        .collect();
    let intervals: Vec<_> = rows.iter().map(|&(right, images)| wilson(right, images)).collect();
    let lowest = intervals.iter().flatten().map(|interval| interval[1]).fold(1.0, f64::min);
    let place = |value: f64| 100.0 * (value - lowest) / (1.0 - lowest).max(1e-9);
    let digit = |((right, images), interval): ((u64, u64), Option<[f64; 3]>)| Digit {
        images,
        right,
        accuracy: interval.map_or("–".into(), |[accuracy, ..]| percent(accuracy)),
        interval: interval
            .map_or("–".into(), |[_, low, high]| format!("{:.2} to {}", 100.0 * low, percent(high))),
        bar: interval.map(|[accuracy, low, high]| [place(low), place(high) - place(low), place(accuracy)]),
    };
    rows.into_iter().zip(intervals).map(digit).collect()
}

/// Shades by the root of the part of a row, as mistakes are few.
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
    let points = bins.iter().map(|bin| (f64::from(bin.confidence), f64::from(bin.accuracy))).collect();
    let mut lines = Lines::new("how sure: mean probability of the guess", "how often right");
    lines.size = CHART;
    lines.add("This model", points);
    lines.add("As sure as right", vec![(0.0, 0.0), (1.0, 1.0)]);
    let error = percent(predictions.calibration.error.into());
    let caption = format!(
        "How often the model is right against how sure it is, in {} bins; expected calibration error {error}",
        bins.len()
    );
    Ok(Chart::new(&lines.to_svg()?, caption))
}
