//! The page of a study.

use std::path::Path;

use askama::Template;

use super::Error;
use super::section::{CHART, Chart, thousands};
use crate::study::{Difference, Distribution, End, Interval, Row, Summary, Varied, pictures, rows_in};
use crate::util::text::count;

/// What a page says of a study.
#[derive(Template)]
#[template(path = "study.html")]
pub struct StudyPage {
    title: String,
    figures: Vec<Chart>,
    distributions: Vec<Line>,
    difference: Option<[String; 3]>,
    rows: Vec<[String; 8]>,
}

/// A row of the table of distributions.
struct Line {
    model: &'static str,
    varied: String,
    n: String,
    mean: String,
    interval: String,
    standard_deviation: String,
    range: String,
    binomial: String,
    /// How many seeds lie below what the notebook prints.
    below: String,
}

impl StudyPage {
    /// Of the study in a folder, with the pictures of those runs that are still there.
    pub fn new(folder: &Path, title: String) -> Result<Self, Error> {
        let rows = rows_in(folder)?;
        let summary = Summary::new(&rows);
        let figures = pictures(folder, &rows, &summary, CHART)?;
        Ok(Self {
            title,
            figures: figures.into_iter().map(|picture| Chart::new(&picture.svg, picture.caption)).collect(),
            distributions: summary.distributions.iter().map(Line::new).collect(),
            difference: summary.difference.as_ref().map(difference),
            rows: rows.iter().map(row).collect(),
        })
    }
}

impl Line {
    fn new(distribution: &Distribution) -> Self {
        let Distribution { model, varied, accuracies, others, .. } = distribution;
        let number = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "–".into() };
        let [low, high] = distribution.range();
        let n = thousands(accuracies.len());
        let is_seed = *varied == Varied::Seed;
        Self {
            model: model.class_name(),
            varied: varied.to_string(),
            n: if *others > 0 { format!("{n} of {}", accuracies.len() + others) } else { n },
            mean: number(distribution.mean.value),
            interval: if accuracies.len() > 1 {
                format!("{} to {}", number(distribution.mean.low), number(distribution.mean.high))
            } else {
                "–".into()
            },
            standard_deviation: number(distribution.standard_deviation),
            range: format!("{} to {}", number(low), number(high)),
            binomial: number(distribution.binomial_error()),
            below: if is_seed { distribution.below_printed().to_string() } else { "–".into() },
        }
    }
}

fn difference(difference: &Difference) -> [String; 3] {
    let text = |Interval { value, low, high }: Interval| {
        let interval =
            if low < high { format!(", 95 % interval {low:.4} to {high:.4}") } else { String::new() };
        format!("{value:.4}{interval}")
    };
    let Difference { n, mean, wins, outperforms } = difference;
    [n.to_string(), text(*mean), format!("{}, with {wins} of {}", text(*outperforms), count(*n, "seed"))]
}

fn row(row: &Row) -> [String; 8] {
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
    let hash = row.weights_sha256.as_deref().unwrap_or("–");
    [
        row.model.to_string(),
        row.varied.to_string(),
        row.seed.to_string(),
        number(row.test_accuracy),
        number(row.valid_accuracy),
        format!("{:.1}", row.seconds),
        hash.chars().take(8).collect(),
        match &row.end {
            End::MaxEpochs => count(row.epochs, "epoch"),
            end => String::from(end.clone()),
        },
    ]
}
