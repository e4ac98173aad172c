//! The page of more than two runs: their results in a table, their curves together, the options in which they differ.

use std::collections::BTreeSet;
use std::path::Path;

use askama::Template;

use super::numbers::{Numbers, Quantity, quantities};
use super::pictures::{Chart, percent};
use super::run::{Run, facts, find};
use super::section::{metrics, name_of};
use super::{Error, TestImages};
use crate::chart::{Figure, Metric, Name, Picture as _, Set};
use crate::util::path::shown_path;

/// Width and height of a chart with the curves of several runs, in pixels.
const WIDE: (usize, usize) = (720, 400);
/// More would need more colors than a figure has.
pub const MAX_RUNS: usize = 10;

/// The page.
#[derive(Template)]
#[template(path = "many.html")]
pub struct ManyPage {
    title: String,
    lead: String,
    names: Vec<String>,
    numbers: Vec<Quantity>,
    curves: Vec<Chart>,
    /// Options in which the runs differ, with the value of each run.
    options: Vec<(String, Vec<String>)>,
}

impl ManyPage {
    /// Reads the runs in these folders.
    pub fn new(folders: &[&Path], images: &TestImages) -> Result<Self, Error> {
        let mut found = vec![];
        for folder in folders {
            found.extend(find(folder)?);
        }
        if found.len() > MAX_RUNS {
            return Err(Error::TooManyRuns(found.len()));
        }
        // Two folders can end alike.
        let is_unique = |name: &String| found.iter().filter(|(other, _)| other == name).count() == 1;
        let named = found.iter().map(|(name, folder)| {
            let name = if is_unique(name) { name.clone() } else { shown_path(folder) };
            Run::read(folder, name, images)
        });
        let runs: Vec<Run> = named.collect::<Result<_, _>>()?;
        let numbers: Vec<Numbers> = runs.iter().map(Numbers::of).collect();
        let named: Vec<(&str, &Run)> = runs.iter().map(|run| (run.name.as_str(), run)).collect();
        Ok(Self {
            title: format!("{} runs", runs.len()),
            lead: lead(&runs, &numbers),
            numbers: quantities(&numbers),
            curves: curves(&named)?,
            options: options(&runs),
            names: runs.into_iter().map(|run| run.name).collect(),
        })
    }
}

fn lead(runs: &[Run], numbers: &[Numbers]) -> String {
    let Some(highest) = numbers.iter().filter_map(|run| run.test_accuracy).max_by(f64::total_cmp) else {
        return "No run has a test accuracy.".into();
    };
    let of_highest = runs.iter().zip(numbers).filter(|(_, numbers)| numbers.test_accuracy == Some(highest));
    let names: Vec<&str> = of_highest.map(|(run, _)| run.name.as_str()).collect();
    let (names, verb) = (names.join(" and "), if names.len() == 1 { "has" } else { "have" });
    format!(
        "{names} {verb} the highest test accuracy, {}. If intervals overlap, chance may explain a difference; the page \
         of two runs says more.",
        percent(highest)
    )
}

/// The options that are not the same in all runs.
fn options(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let of_run = |run: &Run| -> Vec<(String, String)> {
        let sections = facts(run).into_iter();
        sections
            .filter(|(title, _)| ["Options", "Hyper-parameters"].contains(title))
            .flat_map(|(_, fields)| fields)
            .collect()
    };
    let all: Vec<Vec<(String, String)>> = runs.iter().map(of_run).collect();
    let names: BTreeSet<&String> = all.iter().flatten().map(|(name, _)| name).collect();
    let values = |name: &String| -> Vec<String> {
        let of = |fields: &Vec<(String, String)>| {
            fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        };
        all.iter().map(|fields| of(fields).unwrap_or("–".into())).collect()
    };
    let rows = names.into_iter().map(|name| (name.clone(), values(name)));
    rows.filter(|(_, values)| values.iter().any(|value| *value != values[0])).collect()
}

/// Draws accuracy and loss of several runs in the same axes, training and validation, or only validation of more than two.
pub fn curves(runs: &[(&str, &Run)]) -> Result<Vec<Chart>, Error> {
    let mut charts = vec![];
    let Some(csv) = runs.iter().find_map(|(_, run)| run.metrics_csv.as_deref()) else { return Ok(charts) };
    for metric in metrics(csv) {
        let (name, is_loss) = (name_of(&metric), metric == Metric::Loss);
        let logged = runs.iter().filter_map(|(name, run)| Some((*name, run.metrics_csv.as_deref()?)));
        let named: Vec<(Name, &[u8])> =
            logged.map(|(name, csv)| (Name::Path(name.to_owned()), csv)).collect();
        let Some(mut figure) = Figure::of_runs(metric, &named) else { continue };
        // The sets of more than two runs would hide each other.
        let mut validation = figure.clone();
        let is_crowded = runs.len() > 2 && validation.keep(Set::Validation);
        let sets = if is_crowded { "validation" } else { "training and validation" };
        if is_crowded {
            figure = validation;
        }
        figure.size = WIDE;
        let axis = if is_loss { figure.use_log_axis() } else { "" };
        charts.push(Chart::new(&figure.to_svg()?, format!("{name}{axis} against epoch, {sets}")));
    }
    Ok(charts)
}
