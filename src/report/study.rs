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
    ACCURACY, Difference, Distribution, FEW, Interval, Row, STUDY_JSON, Summary, newest_version, pictures,
    rows_in,
};
use crate::util::file;
use crate::util::path::shown_path;
use crate::util::text::{count, distinct};

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
    /// Explains the column of the notebook's accuracy, if that is filled.
    is_compared: bool,
    /// Models and kinds of seeds with fewer seeds than their intervals need, as a sentence.
    caution: Option<String>,
    /// Sentences on the number of seeds that a comparison needs.
    power: Vec<String>,
    difference: Option<[String; 3]>,
    groups: Vec<Group>,
    facts: Vec<(&'static str, Fields)>,
}

/// The runs of one model and kind of seed.
struct Group {
    name: String,
    rows: Vec<[String; 6]>,
}

/// A row of the table of distributions.
struct Line {
    model: String,
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
    pub fn new(folder: &Path) -> Result<Self, Error> {
        let rows = rows_in(folder)?;
        let summary = Summary::new(&rows);
        let pictures = pictures(folder, &rows, &summary, CHART)?;
        let drawn_earlier = if pictures.iter().any(|picture| picture.name == ACCURACY) {
            None
        } else {
            optional(folder, &format!("{ACCURACY}.svg"), MAX_SVG)?
        };
        let caption = "Validation accuracy against epoch, drawn before the runs’ folders were removed";
        let drawn_earlier = drawn_earlier.map(|svg| Chart::of_file(&svg, caption.into()));
        let drawn = pictures.into_iter().map(|picture| Chart::new(&picture.svg, picture.caption));
        let distributions = &summary.distributions;
        let of_whole_runs = distributions.iter().filter(|distribution| distribution.is_of_whole_runs());
        let power = of_whole_runs
            .filter_map(|distribution| Some((distribution.model.class_name(), distribution.power()?)));
        Ok(Self {
            title: title(&summary),
            is_compared: distributions.iter().any(|distribution| distribution.in_notebook().is_some()),
            caution: caution(&summary),
            power: power.map(|(name, power)| format!("{name}: {power}.")).collect(),
            figures: drawn_earlier.into_iter().chain(drawn).collect(),
            facts: facts(folder, &rows)?,
            distributions: summary.distributions.iter().map(Line::new).collect(),
            difference: summary.difference.as_ref().map(difference),
            groups: distributions.iter().map(|distribution| Group::new(distribution, &rows)).collect(),
        })
    }
}

/// "MNISTModel and MNIST_MLR over 100 seeds"
fn title(summary: &Summary) -> String {
    let names = summary.distributions.iter().map(|distribution| distribution.model.class_name());
    let names = distinct(names).join(" and ");
    let whole = summary.distributions.iter().filter(|distribution| distribution.is_of_whole_runs());
    match whole.max_by_key(|distribution| distribution.accuracies.len() + distribution.others) {
        Some(most) => format!("{names} over {}", count(most.accuracies.len() + most.others, most.unit())),
        None => format!("{names} over many seeds"),
    }
}

fn caution(summary: &Summary) -> Option<String> {
    let is_few = |distribution: &&Distribution| (2..FEW).contains(&distribution.accuracies.len());
    let few = summary.distributions.iter().filter(is_few);
    let few: Vec<String> = few
        .map(|few| {
            format!(
                "{} ({}) has {}",
                few.model.class_name(),
                few.varied,
                count(few.accuracies.len(), few.unit())
            )
        })
        .collect();
    (!few.is_empty()).then(|| {
        format!(
            "{}: with fewer than {FEW}, percentile intervals are too narrow, and a standard deviation is little more than \
             a guess.",
            few.join(", ")
        )
    })
}

/// Returns the options of all runs, and the environments of those whose folders still exist.
fn facts(folder: &Path, rows: &[Row]) -> Result<Vec<(&'static str, Fields)>, Error> {
    let options = optional(folder, STUDY_JSON, MAX_JSON)?.map(|json| parse(&json));
    // For each field, the number of runs with each value.
    let mut environment: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for row in rows {
        let Some(key) = row.key() else { continue };
        let Some(version) = newest_version(&folder.join(key.folder())) else { continue };
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
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = vec![("Name".to_owned(), shown_path(path.file_name().unwrap_or_default().as_ref()))];
    let facts =
        vec![("Folder", name), ("Options", fields(options.as_ref())), ("Environment", environment.collect())];
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
        let between = |interval: Interval| format!("{} to {}", number(interval.low), number(interval.high));
        let interval = |interval: Interval| match interval.low.is_finite() {
            true => format!("{} ({})", number(interval.value), between(interval)),
            false => "–".into(),
        };
        let [low, high] = distribution.range();
        let n = thousands(accuracies.len());
        Self {
            model: model.class_name().to_owned(),
            varied: varied.to_string(),
            n: if *others > 0 { format!("{n} of {}", accuracies.len() + others) } else { n },
            mean: number(distribution.mean.value),
            interval: if accuracies.len() > 1 { between(distribution.mean) } else { "–".into() },
            standard_deviation: interval(distribution.standard_deviation),
            range: format!("{} to {}", number(low), number(high)),
            binomial: number(distribution.binomial_error()),
            below: distribution.below_printed().map_or("–".into(), |below| below.to_string()),
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

impl Group {
    fn new(distribution: &Distribution, rows: &[Row]) -> Self {
        let is_in = |row: &&Row| row.model == distribution.model && row.varied == distribution.varied;
        let rows: Vec<_> = rows.iter().filter(is_in).map(row).collect();
        let [low, high] = distribution.range().map(number);
        let (name, varied) = (distribution.model.class_name(), distribution.varied);
        Self { name: format!("{name}, {varied}: {}, {low} to {high}", count(rows.len(), "run")), rows }
    }
}

fn row(row: &Row) -> [String; 6] {
    let accuracy = |value: Option<f64>| value.map_or("–".into(), number);
    let hash = row.weights_sha256.as_deref().unwrap_or("–");
    [
        row.seed.to_string(),
        accuracy(row.test_accuracy),
        accuracy(row.valid_accuracy),
        row.seconds.map_or("–".into(), |seconds| format!("{seconds:.1}")),
        hash.chars().take(8).collect(),
        match &row.end {
            End::MaxEpochs => count(row.epochs, "epoch"),
            end => end.to_string(),
        },
    ]
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "–".into() }
}
