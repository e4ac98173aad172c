//! The page of two runs, or of two folders of runs, compared.

use std::path::Path;

use askama::Template;
use sha2::{Digest, Sha256};
use tch::Kind;

use super::better::Better;
use super::many::curves;
use super::numbers::{Numbers, Quantity, quantities};
use super::pictures::{CHART, Chart, thousands};
use super::proof::{Proof, proof};
use super::run::{Fact, Run, facts_of_both, find};
use super::section::charts;
use super::texts::{Texts, texts};
use super::{Error, TestImages};
use crate::chart::{Lines, Picture as _};
use crate::compare::{FileReport, Found, Growth, Report, Verdict};
use crate::torch::state_dict;
use crate::util::file;
use crate::util::text::{count, hex, shown};

/// A parity run's weights have 1 MB, its trace 70 MB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Two folders and the findings about them.
pub struct Pair<'a> {
    /// The reference and the candidate.
    pub folders: [&'a Path; 2],
    pub report: &'a Report,
    pub images: &'a TestImages<'a>,
}

/// The page.
#[derive(Template)]
#[template(path = "comparison.html")]
pub struct PairPage {
    title: String,
    /// True if the question is whether the runs are equal, because they should be: the same models with the same options.
    is_parity: bool,
    /// True if the models of a pair are known, so that one can be better.
    has_better: bool,
    verdict: &'static str,
    sentence: String,
    names: [String; 2],
    proof: Proof,
    /// Numbers of files and tensors.
    compared: String,
    /// Number of values in the tensors.
    values: String,
    files: Vec<FileRow>,
    tensors: Vec<TensorRow>,
    options: Vec<String>,
    made: Vec<Made>,
    differences: Vec<Difference>,
    runs: Vec<RunPair>,
    texts: Vec<Texts>,
}

/// The facts that some pairs of runs have in common, and the names of those pairs.
struct Made {
    names: String,
    facts: Vec<Fact>,
}

/// A compared file.
struct FileRow {
    name: String,
    found: String,
    verdict: &'static str,
    /// SHA-256 of both sides; only one if they are equal.
    hashes: Vec<String>,
}

/// A compared tensor, with the SHA-256 of the reference's bytes.
struct TensorRow {
    name: String,
    shape: String,
    found: String,
    hash: String,
}

/// A run of the reference and its counterpart.
struct RunPair {
    name: String,
    /// What to call the two on the page.
    sides: [String; 2],
    numbers: Vec<Quantity>,
    curves: Vec<Chart>,
    /// None if a model is unknown.
    better: Option<Better>,
}

impl Pair<'_> {
    pub fn page(&self) -> Result<PairPage, Error> {
        let names = self.folders.map(|folder| shown(&folder.to_string_lossy()));
        let text = self.report.to_string();
        let (files, tensors) = self.files()?;
        let runs = self.runs()?;
        let pairs: Vec<RunPair> =
            runs.iter().map(|(name, pair)| self.run(name, pair)).collect::<Result<_, _>>()?;
        Ok(PairPage {
            title: format!("{} and {}", names[0], names[1]),
            is_parity: is_parity(self.report, &runs),
            proof: proof(&runs),
            verdict: verdict(self.report.verdict()),
            sentence: text.lines().last().unwrap_or_default().to_owned(),
            compared: format!("{} and {}", count(files.len(), "file"), count(tensors.len(), "tensor")),
            values: self.values(),
            files,
            tensors,
            options: self.report.options.iter().map(ToString::to_string).collect(),
            made: made(&runs),
            differences: differences(self.report, &runs)?,
            has_better: pairs.iter().any(|pair| pair.better.is_some()),
            runs: pairs,
            texts: texts(self.report, self.folders)?,
            names,
        })
    }

    /// Counts the values in the compared tensors.
    fn values(&self) -> String {
        let tensors = self.report.files.iter().flat_map(FileReport::tensors);
        thousands(tensors.map(|tensor| tensor.shape.iter().product::<usize>()).sum())
    }

    fn files(&self) -> Result<(Vec<FileRow>, Vec<TensorRow>), Error> {
        let (mut files, mut tensors) = (vec![], vec![]);
        for report in &self.report.files {
            let contents: [_; 2] =
                std::array::from_fn(|i| file::read(&self.folders[i].join(&report.paths[i]), MAX_BYTES).ok());
            let mut hashes: Vec<_> =
                contents.iter().flatten().map(|bytes| hex(&Sha256::digest(bytes))).collect();
            hashes.dedup();
            let text = report.found.to_string();
            let found = text.lines().next().unwrap_or_default();
            files.push(FileRow {
                name: report.name.clone(),
                found: report.note.as_ref().map_or(found.to_owned(), |note| format!("{found}; {note}")),
                verdict: verdict(report.verdict),
                hashes,
            });
            let views = contents[0].as_deref().and_then(|bytes| state_dict::open(bytes).ok());
            for tensor in report.tensors() {
                let view = views.as_ref().and_then(|views| views.tensor(&tensor.written).ok());
                tensors.push(TensorRow {
                    name: format!("{}: {}", report.name, tensor.name),
                    shape: format!("{:?}", tensor.shape),
                    found: tensor.difference.as_ref().map_or("identical".into(), ToString::to_string),
                    hash: view.map_or(String::new(), |view| hex(&Sha256::digest(view.data()))),
                });
            }
        }
        Ok((files, tensors))
    }

    /// Reads the runs that have the same name on both sides; if each side is one run, these two.
    fn runs(&self) -> Result<Vec<(String, [Run; 2])>, Error> {
        let [reference, candidate] = self.folders;
        let (left, right) = (find(reference)?, find(candidate)?);
        let is_single = left.len() == 1 && right.len() == 1;
        let mut runs = vec![];
        for (name, folder) in &left {
            let other = right.iter().find(|(other, _)| is_single || other == name);
            let Some((other_name, other)) = other else { continue };
            let read = |folder: &Path, name: &str| Run::read(folder, name.to_owned(), self.images);
            let shown = if name == other_name { name.clone() } else { format!("{name} and {other_name}") };
            runs.push((shown, [read(folder, name)?, read(other, other_name)?]));
        }
        Ok(runs)
    }

    fn run(&self, name: &str, runs: &[Run; 2]) -> Result<RunPair, Error> {
        let sides = if runs[0].name == runs[1].name {
            ["Reference", "Candidate"].map(str::to_owned)
        } else {
            runs.each_ref().map(|run| run.name.clone())
        };
        let named = sides.each_ref().map(String::as_str);
        let better = match runs.each_ref().map(|run| run.model.as_ref()) {
            [Ok((_, left)), Ok((_, right))] => Some(Better::new(named, [left, right], self.images)?),
            _ => None,
        };
        let both: Vec<_> = runs.iter().zip(named).map(|(run, name)| (name, run)).collect();
        Ok(RunPair {
            name: name.to_owned(),
            numbers: quantities(&runs.each_ref().map(Numbers::of)),
            // Equal points would hide each other.
            curves: if runs[0].metrics_csv == runs[1].metrics_csv {
                charts(&runs[0], ", the same in both runs")?
            } else {
                curves(&both)?
            },
            better,
            sides,
        })
    }
}

/// True if both sides of each pair have the same model and options, so that their bits should be equal.
fn is_parity(report: &Report, runs: &[(String, [Run; 2])]) -> bool {
    let is_same = |(_, pair): &(String, [Run; 2])| {
        let classes = pair
            .each_ref()
            .map(|run| run.model.as_ref().ok().map(|(module, _)| module.model.info().class_name));
        let facts = facts_of_both(pair);
        let mut options = facts.iter().filter(|fact| fact.is_option).peekable();
        // Of a run without run.json, no option is known.
        let are_known =
            pair[0].run_json.is_empty() == pair[1].run_json.is_empty() && options.peek().is_some();
        classes[0] == classes[1] && are_known && !options.any(|fact| fact.differs)
    };
    report.verdict() == Verdict::Identical || runs.iter().all(is_same)
}

/// Groups pairs of runs with the same facts, such as the two runs of a notebook.
fn made(runs: &[(String, [Run; 2])]) -> Vec<Made> {
    let mut made: Vec<Made> = vec![];
    for (name, pair) in runs {
        let facts = facts_of_both(pair);
        match made.iter_mut().find(|before| before.facts == facts) {
            Some(before) => before.names = format!("{} and {name}", before.names),
            None => made.push(Made { names: name.clone(), facts }),
        }
    }
    made
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "identical",
        Verdict::Close => "close",
        Verdict::Different => "different",
        Verdict::Incomparable => "incomparable",
    }
}

/// A difference in one file or between two runs, with charts of its size by step.
struct Difference {
    name: String,
    text: String,
    charts: Vec<Chart>,
}

/// Describes each file that differs. If no trace differs, also describes how far each pair of runs is apart, from their
/// metrics and weights.
fn differences(report: &Report, runs: &[(String, [Run; 2])]) -> Result<Vec<Difference>, Error> {
    let differs = |file: &&FileReport| file.verdict != Verdict::Identical;
    let mut differences = vec![];
    // Traces first: they explain why the others differ.
    let (traces, others): (Vec<_>, Vec<_>) =
        report.files.iter().filter(differs).partition(|file| matches!(file.found, Found::Trace(_)));
    let has_trace = !traces.is_empty();
    for file in traces.into_iter().chain(others) {
        let charts = match &file.found {
            Found::Trace(trace) => trace_charts(&trace.curve.points)?,
            _ => vec![],
        };
        differences.push(Difference { name: file.name.clone(), text: file.found.to_string(), charts });
    }
    if !has_trace && report.verdict() != Verdict::Identical {
        for (name, pair) in runs {
            let charts = metrics_charts(pair)?;
            let apart = distance(pair).filter(|&apart| apart > 0.0);
            let text = match apart {
                Some(apart) => {
                    format!("at the end the parameters are {apart:.3e} apart (Euclidean distance)")
                }
                None if charts.is_empty() => continue,
                None => "the losses in metrics.csv differ".into(),
            };
            differences.push(Difference { name: name.clone(), text, charts });
        }
    }
    Ok(differences)
}

fn trace_charts(points: &[Growth]) -> Result<Vec<Chart>, Error> {
    let of = |value: fn(&Growth) -> Option<f64>| {
        points.iter().filter_map(|point| Some((point.step as f64, value(point)?))).collect::<Vec<_>>()
    };
    let loss = of(|point| Some((point.loss[0]? - point.loss[1]?).abs()));
    let distance = of(|point| point.parameter_distance);
    let charts = [
        log_chart("difference", vec![("Loss", loss)], "Difference between the training losses against step")?,
        log_chart(
            "distance",
            vec![("Parameters", distance)],
            "Euclidean distance between the parameters against step, estimated to within about 9 %",
        )?,
    ];
    Ok(charts.into_iter().flatten().collect())
}

fn metrics_charts(runs: &[Run; 2]) -> Result<Vec<Chart>, Error> {
    let [Some(left), Some(right)] = runs.each_ref().map(|run| run.metrics_csv.as_deref()) else {
        return Ok(vec![]);
    };
    let series = [("Training", "train_loss"), ("Validation", "valid_loss")].map(|(name, column)| {
        let (left, right) = (by_step(left, column), by_step(right, column));
        // Matched by step, since one side may lack a row or have one that is not finite.
        let other = |step: f64| right.iter().find(|point| point.0 == step);
        let apart = left.iter().filter_map(|&(step, loss)| Some((step, (loss - other(step)?.1).abs())));
        (name, apart.collect())
    });
    Ok(log_chart("difference", series.into(), "Difference between the losses in metrics.csv against step")?
        .into_iter()
        .collect())
}

/// Returns the finite values of a column with their steps; empty if the table is malformed, which `compare` reports.
fn by_step(csv: &[u8], column: &str) -> Vec<(f64, f64)> {
    let mut reader = csv::Reader::from_reader(csv);
    let place = |header: &csv::StringRecord, name: &str| header.iter().position(|column| column == name);
    let Ok(header) = reader.headers().cloned() else { return vec![] };
    let (Some(step), Some(column)) = (place(&header, "step"), place(&header, column)) else { return vec![] };
    let number = |row: &csv::StringRecord, at: usize| {
        row.get(at)?.parse().ok().filter(|value: &f64| value.is_finite())
    };
    let rows = reader.records().map_while(Result::ok);
    rows.filter_map(|row| Some((number(&row, step)?, number(&row, column)?))).collect()
}

/// Draws lines on a log axis; none if no value is positive.
fn log_chart(
    y_name: &str,
    series: Vec<(&str, Vec<(f64, f64)>)>,
    caption: &str,
) -> Result<Option<Chart>, Error> {
    let mut lines = Lines::new("step", y_name);
    lines.size = CHART;
    lines.log_y = true;
    let mut is_empty = true;
    for (name, mut points) in series {
        points.retain(|point| point.1 > 0.0 && point.1.is_finite());
        if !points.is_empty() {
            is_empty = false;
            lines.add(name, points);
        }
    }
    if is_empty {
        return Ok(None);
    }
    let caption = format!("{caption}, on a log axis");
    Ok(Some(Chart::new(&lines.to_svg()?, caption)))
}

/// Returns the Euclidean distance between the parameters of two models; none if one is missing, or if
/// their names or shapes differ.
fn distance(runs: &[Run; 2]) -> Option<f64> {
    let [left, right] = runs.each_ref().map(|run| run.model.as_ref().ok());
    let (left, right) = (left?.0.state_dict(), right?.0.state_dict());
    let mut sum = 0.0;
    for (name, tensor) in &left {
        let other = right.get(name).filter(|other| other.size() == tensor.size())?;
        let apart = tensor.detach().f_to_kind(Kind::Double).ok()?.f_sub(&other.detach()).ok()?;
        sum += f64::try_from(apart.f_square().ok()?.f_sum(Kind::Double).ok()?).ok()?;
    }
    (left.len() == right.len()).then(|| sum.sqrt())
}
