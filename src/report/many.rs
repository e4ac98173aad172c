//! The page of more than two runs: their results in a table, their curves together, the options in which they differ.

use std::collections::BTreeSet;
use std::path::Path;

use askama::Template;

use super::numbers::{Numbers, Quantity, quantities};
use super::pictures::Chart;
use super::run::{Run, facts, find};
use super::section::{MAX_OTHERS, name_of};
use super::{Error, TestImages};
use crate::chart::{Figure, Metric, Name, Picture as _, Set};
use crate::util::path::shown_path;

/// Width and height of a chart with the curves of several runs, in pixels.
const WIDE: (usize, usize) = (720, 400);
/// A figure has only so many colors.
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
        let mut runs = vec![];
        for folder in folders {
            for (name, folder) in find(folder)? {
                let run = Run::read(&folder, name, images)?;
                runs.push((folder, run));
            }
        }
        // Two folders can end alike.
        let names: Vec<String> = runs.iter().map(|(_, run): &(_, Run)| run.name.clone()).collect();
        for (folder, run) in &mut runs {
            if names.iter().filter(|name| **name == run.name).count() > 1 {
                run.name = shown_path(folder);
            }
        }
        let runs: Vec<Run> = runs.into_iter().map(|(_, run)| run).collect();
        if runs.len() > MAX_RUNS {
            return Err(Error::ManyRuns { folder: folders[0].to_path_buf(), count: runs.len() });
        }
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
    let known = runs.iter().zip(numbers).filter_map(|(run, numbers)| Some((run, numbers.test_accuracy?)));
    match known.max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((run, accuracy)) => format!(
            "{} has the highest test accuracy, {}. Runs whose intervals overlap may differ by chance; the page of two runs says more.",
            run.name,
            super::pictures::percent(accuracy)
        ),
        None => "No run has a test accuracy.".into(),
    }
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
    let others = runs.iter().find_map(|(_, run)| run.metrics_csv.as_deref()).map(Metric::others);
    let others = others.into_iter().flatten().take(MAX_OTHERS);
    for metric in [Metric::Accuracy, Metric::Loss].into_iter().chain(others) {
        let (name, is_loss) = (name_of(&metric), metric == Metric::Loss);
        let logged = runs.iter().filter_map(|(name, run)| Some((*name, run.metrics_csv.as_deref()?)));
        let named: Vec<(Name, &[u8])> =
            logged.map(|(name, csv)| (Name::Path(name.to_owned()), csv)).collect();
        let Some(mut figure) = Figure::of_runs(metric, &named) else { continue };
        let sets = if runs.len() > 2 && figure.keep(Set::Validation) {
            "validation"
        } else {
            "training and validation"
        };
        figure.size = WIDE;
        figure.log_y = is_loss;
        // A log axis fails if all losses are 0.
        figure.log_y = figure.log_y && figure.to_svg().is_ok();
        let axis = if figure.log_y { ", on a log axis," } else { "" };
        charts.push(Chart::new(&figure.to_svg()?, format!("{name}{axis} against epoch, {sets}")));
    }
    Ok(charts)
}
