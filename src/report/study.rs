//! The page of a study.

use std::collections::BTreeMap;
use std::path::Path;

use askama::Template;
use serde_json::Value;

use super::Error;
use super::pictures::{CHART, Chart, thousands};
use super::run::{Fields, fields};
use crate::run::{self, End, RunJson};
use crate::study::{
    ACCURACY, Difference, Distribution, Interval, Row, STUDY_JSON, Summary, Varied, newest_version, pictures,
    rows_in,
};
use crate::util::file;
use crate::util::text::count;

/// A study.json is hundreds of times smaller.
const MAX_JSON: u64 = 1 << 20;
/// A study's pictures are twenty times smaller.
const MAX_SVG: u64 = 1 << 20;

/// The page.
#[derive(Template)]
#[template(path = "study.html")]
pub struct StudyPage {
    title: String,
    figures: Vec<Chart>,
    distributions: Vec<Line>,
    difference: Option<[String; 3]>,
    rows: Vec<[String; 8]>,
    facts: Vec<(&'static str, Fields)>,
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
    /// Number of seeds below the accuracy that the notebook prints.
    below: String,
}

impl StudyPage {
    /// Makes the page of the study in a folder. If its runs are gone, the picture of their accuracy is the one drawn
    /// earlier.
    pub fn new(folder: &Path, title: String) -> Result<Self, Error> {
        let rows = rows_in(folder)?;
        let summary = Summary::new(&rows);
        let pictures = pictures(folder, &rows, &summary, CHART)?;
        let drawn_earlier = if pictures.iter().any(|picture| picture.name == ACCURACY) {
            None
        } else {
            optional(folder, &format!("{ACCURACY}.svg"), MAX_SVG)?
        };
        let caption = "Validation accuracy against epoch, median and central 90 %, drawn before the runs’ folders were removed";
        let drawn_earlier = drawn_earlier.map(|svg| Chart::of_file(&svg, caption.into()));
        let drawn = pictures.into_iter().map(|picture| Chart::new(&picture.svg, picture.caption));
        Ok(Self {
            title,
            figures: drawn_earlier.into_iter().chain(drawn).collect(),
            facts: facts(folder, &rows)?,
            distributions: summary.distributions.iter().map(Line::new).collect(),
            difference: summary.difference.as_ref().map(difference),
            rows: rows.iter().map(row).collect(),
        })
    }
}

/// Returns the options of all runs, and the environments of those whose folders still exist.
fn facts(folder: &Path, rows: &[Row]) -> Result<Vec<(&'static str, Fields)>, Error> {
    let options = optional(folder, STUDY_JSON, MAX_JSON)?.map(|json| parse(&json));
    // For each field, the number of runs with each value.
    let mut environment: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for row in rows {
        let Some(version) = newest_version(&folder.join(row.key().folder())) else { continue };
        let run_json = match RunJson::fields(&version) {
            // The results are shown all the same.
            Err(run::Error::NotRunJson { .. }) => continue,
            run_json => run_json?.unwrap_or_default(),
        };
        for (name, value) in fields(run_json.get("environment")) {
            *environment.entry(name).or_default().entry(value).or_default() += 1;
        }
    }
    let environment = environment.into_iter().map(|(name, values)| {
        let is_same = values.len() == 1;
        let in_runs = |(value, runs): (String, usize)| match runs {
            _ if is_same => value,
            1 => format!("{value} in 1 run"),
            runs => format!("{value} in {} runs", thousands(runs)),
        };
        (name, values.into_iter().map(in_runs).collect::<Vec<_>>().join(", "))
    });
    let facts = vec![("Options", fields(options.as_ref())), ("Environment", environment.collect())];
    Ok(facts.into_iter().filter(|(_, fields)| !fields.is_empty()).collect())
}

/// Returns null for invalid JSON, so that the results are shown anyway.
fn parse(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_default()
}

fn optional(folder: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    match file::read(&folder.join(name), limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
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

/// Returns the number of shared seeds, the mean difference and the probability that the MLP is better.
fn difference(difference: &Difference) -> [String; 3] {
    let text = |Interval { value, low, high }: Interval| {
        let interval =
            if low < high { format!(", 95 % interval {low:.4} to {high:.4}") } else { String::new() };
        format!("{value:.4}{interval}")
    };
    let Difference { n, mean, wins, outperforms } = difference;
    [
        n.to_string(),
        text(*mean),
        format!("{}, better with {wins} of {}", text(*outperforms), count(*n, "seed")),
    ]
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
            end => end.to_string(),
        },
    ]
}
