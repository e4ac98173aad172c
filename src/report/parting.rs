//! Where two runs part, and how far they are apart from there: from traces if there are any, else from metrics and
//! weights.

use tch::Kind;

use super::Error;
use super::format::{CHART, Chart};
use super::run::Run;
use crate::chart::{Lines, Picture};
use crate::compare::{FileReport, Found, Growth, Report, Verdict};

/// What differs in one file, and how far it goes.
pub struct Parting {
    pub name: String,
    /// As `compare` says it.
    pub told: String,
    pub charts: Vec<Chart>,
}

/// A parting for each file that differs, and for each pair of runs without a trace how far apart they are.
pub fn partings(report: &Report, runs: &[(String, [Run; 2])]) -> Result<Vec<Parting>, Error> {
    let differs = |file: &&FileReport| file.verdict != Verdict::Identical;
    let mut partings = vec![];
    // Traces first: they say why the others differ.
    let (traces, others): (Vec<_>, Vec<_>) =
        report.files.iter().filter(differs).partition(|file| matches!(file.found, Found::Trace(_)));
    let has_trace = !traces.is_empty();
    for file in traces.into_iter().chain(others) {
        let charts = match &file.found {
            Found::Trace(trace) => of_trace(&trace.curve.points)?,
            _ => vec![],
        };
        partings.push(Parting { name: file.name.clone(), told: file.found.to_string(), charts });
    }
    if !has_trace && report.verdict() != Verdict::Identical {
        for (name, pair) in runs {
            let charts = of_metrics(pair)?;
            let apart = distance(pair).filter(|&apart| apart > 0.0);
            let told = match apart {
                Some(apart) => {
                    format!("the parameters are {apart:.3e} apart at the end (Euclidean distance)")
                }
                None if charts.is_empty() => continue,
                None => "the losses by step".into(),
            };
            partings.push(Parting { name: name.clone(), told, charts });
        }
    }
    Ok(partings)
}

fn of_trace(points: &[Growth]) -> Result<Vec<Chart>, Error> {
    let of = |value: fn(&Growth) -> Option<f64>| {
        points.iter().filter_map(|point| Some((point.step as f64, value(point)?))).collect::<Vec<_>>()
    };
    let loss = of(|point| Some((point.loss[0]? - point.loss[1]?).abs()));
    let distance = of(|point| point.parameter_distance);
    let charts = [
        log_chart("difference", vec![("Loss", loss)], "Difference of the training losses against step")?,
        log_chart(
            "distance",
            vec![("Parameters", distance)],
            "Euclidean distance of all parameters against step, estimated within 9 % or so",
        )?,
    ];
    Ok(charts.into_iter().flatten().collect())
}

fn of_metrics(runs: &[Run; 2]) -> Result<Vec<Chart>, Error> {
    let [Some(left), Some(right)] = runs.each_ref().map(|run| run.metrics_csv.as_deref()) else {
        return Ok(vec![]);
    };
    let series = [("Training", "train_loss"), ("Validation", "valid_loss")].map(|(name, column)| {
        let (left, right) = (by_step(left, column), by_step(right, column));
        // By step: on one side a row may be missing, or not finite.
        let other = |step: f64| right.iter().find(|point| point.0 == step);
        let apart = left.iter().filter_map(|&(step, loss)| Some((step, (loss - other(step)?.1).abs())));
        (name, apart.collect())
    });
    Ok(log_chart("difference", series.into(), "Difference of the losses in metrics.csv against step")?
        .into_iter()
        .collect())
}

/// The values of a column by step; none where the table is no such table, which `compare` tells.
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

/// None if there is nothing above 0, which is all that a log axis shows.
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

/// The Euclidean distance of all parameters of two models; none if they are not of one kind.
fn distance(runs: &[Run; 2]) -> Option<f64> {
    let [left, right] = runs.each_ref().map(|run| run.model.as_ref());
    let (left, right) = (left?.0.state_dict(), right?.0.state_dict());
    let mut sum = 0.0;
    for (name, tensor) in &left {
        let other = right.get(name).filter(|other| other.size() == tensor.size())?;
        let apart = tensor.detach().f_to_kind(Kind::Double).ok()?.f_sub(&other.detach()).ok()?;
        sum += f64::try_from(apart.f_square().ok()?.f_sum(Kind::Double).ok()?).ok()?;
    }
    (left.len() == right.len()).then(|| sum.sqrt())
}
