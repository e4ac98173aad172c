//! Accuracy or loss against epoch: the notebook's matplotlib cell, from `metrics.csv` alone.
//!
//! Mirrors `mnist_results.plot(x='epoch', y=…, marker=…, color=…)` on `plt.subplots(figsize=(6, 6))`:
//! matplotlib's axes box, 5 % data margins, `MaxNLocator` ticks and DejaVu Sans at 10 pt, so that the two
//! pictures can be laid side by side. No line joins the marks: `metrics.csv` has empty cells between them,
//! and pandas breaks its lines there. Only the legend shows the line.

mod axis;
mod canvas;
mod legend;
mod series;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use plotters::style::{BLACK, RED, RGBColor};

use axis::Axis;
use canvas::{Align, Marker, Shape};
use series::{Points, Series};

/// The pixel columns and rows of the axes' frame: 0.125, 0.9, 1 - 0.88 and 1 - 0.11 of the figure.
const LEFT: f64 = 75.0;
const RIGHT: f64 = 540.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 534.0;

/// The widest that a label on the y axis can be, in pixels, without pushing the axis' name off the figure.
const LABEL_ROOM: f64 = 44.0;

const SETS: [(&str, Marker); 2] = [("Training", Marker::Dot), ("Validation", Marker::Plus)];

/// The most runs a figure holds: as many as matplotlib has colors, `tab10`.
pub const MOST_RUNS: usize = 10;
const TAB10: [RGBColor; MOST_RUNS] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(127, 127, 127),
    RGBColor(188, 189, 34),
    RGBColor(23, 190, 207),
];

/// What the y axis shows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Metric {
    /// train_accuracy_epoch and valid_accuracy
    Accuracy,
    /// train_loss and valid_loss
    Loss,
}

impl Metric {
    /// The columns for [`SETS`].
    fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Accuracy => ["train_accuracy_epoch", "valid_accuracy"],
            Self::Loss => ["train_loss", "valid_loss"],
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Accuracy => "Accuracy",
            Self::Loss => "Loss",
        }
    }
}

/// A run to be drawn.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the legend calls the run; may be empty. Of a long name it shows the end, and names that it would
    /// have to cut to the same cannot be drawn.
    pub name: String,
    /// As Lightning's `CSVLogger` writes it.
    pub metrics_csv: PathBuf,
}

/// A picture with one pair of axes; the x axis is the epoch.
#[derive(Clone, Debug)]
pub struct Figure {
    y_label: &'static str,
    series: Vec<Series>,
}

/// The notebook's figure: training accuracy as black dots, validation accuracy as red plus signs.
///
/// Reads what Lightning's `CSVLogger` writes. A cell that is empty or not finite gives no point.
///
/// # Errors
/// The file can't be read, lacks a column, holds a cell that is no number, or not a single point. Each names
/// the path.
pub fn accuracy(metrics_csv: &Path) -> Result<Figure> {
    let run = Run { name: String::new(), metrics_csv: metrics_csv.to_owned() };
    let figure = Figure::new(Metric::Accuracy, &[run])?;
    for ((set, _), column) in SETS.into_iter().zip(Metric::Accuracy.columns()) {
        let drawn = figure.series.iter().any(|series| series.set == set);
        ensure!(drawn, "{}: {}", metrics_csv.display(), series::no_column(column));
    }
    Ok(figure)
}

/// The series of a run from its points, of training and validation.
fn of_run(name: &str, colors: [RGBColor; 2], columns: [Option<Points>; 2]) -> impl Iterator<Item = Series> {
    let run = name.replace(char::is_control, "\u{fffd}");
    let series = columns.into_iter().zip(colors).zip(SETS);
    series.filter_map(move |((points, color), (set, marker))| {
        Some(Series { run: run.clone(), set, marker, color, points: points? })
    })
}

impl Figure {
    /// A metric of one run in the notebook's colors, of several in a color each, [`MOST_RUNS`] at most.
    ///
    /// A run without one of the metric's two columns, such as one without validation, is drawn without it.
    ///
    /// # Errors
    /// A file can't be read, lacks both columns, holds a cell that is no number, or not a single point. Each
    /// names the path.
    pub fn new(metric: Metric, runs: &[Run]) -> Result<Self> {
        ensure!(runs.len() <= MOST_RUNS, "{} runs; a figure holds at most {MOST_RUNS}", runs.len());
        let mut series = Vec::new();
        for (run, color) in runs.iter().zip(TAB10) {
            let colors = if runs.len() == 1 { [BLACK, RED] } else { [color; 2] };
            let columns = series::read(&run.metrics_csv, metric.columns())?;
            series.extend(of_run(&run.name, colors, columns));
        }
        Ok(Self { y_label: metric.label(), series })
    }

    /// As [`Figure::new`] of one run without a name, from the bytes of its `metrics.csv`.
    ///
    /// # Errors
    /// As there, without a path.
    pub fn from_csv(metric: Metric, bytes: impl Read) -> Result<Self> {
        let columns = series::points(bytes, metric.columns())?;
        Ok(Self { y_label: metric.label(), series: of_run("", [BLACK, RED], columns).collect() })
    }

    /// The bytes of a PNG file, 600×600 RGB.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        canvas::png(&self.shapes()?)
    }

    /// The text of an SVG file.
    pub fn to_svg(&self) -> Result<String> {
        canvas::svg(&self.shapes()?)
    }

    fn shapes(&self) -> Result<Vec<Shape>> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x_axis = Axis::new(points().map(|point| point.0));
        let y_axis = Axis::new(points().map(|point| point.1));
        let mut widest: f64 = 0.0;
        for (_, label) in &y_axis.ticks {
            widest = widest.max(canvas::text_width(label)?);
        }
        let left = LEFT + (widest - LABEL_ROOM).max(0.0).round();
        // Whole pixels, as matplotlib snaps its marks and ticks.
        let column = |x: f64| (left + (RIGHT - left) * x_axis.part(x)).round();
        let row = |y: f64| (BOTTOM - (BOTTOM - TOP) * y_axis.part(y)).round();

        let mut shapes = Vec::new();
        for (value, label) in &x_axis.ticks {
            let x = column(*value);
            shapes.push(Shape::Bar((x, BOTTOM), (x + 1.0, BOTTOM + 5.4), BLACK));
            shapes.push(Shape::Text(label.clone(), (x + 0.8, BOTTOM + 20.2), Align::Center));
        }
        for (value, label) in &y_axis.ticks {
            let y = row(*value);
            shapes.push(Shape::Bar((left - 4.4, y), (left, y + 1.0), BLACK));
            shapes.push(Shape::Text(label.clone(), (left - 9.2, y + 5.2), Align::Right));
        }
        let (middle_x, middle_y) = ((left + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        shapes.push(Shape::Text("epoch".into(), (middle_x, BOTTOM + 40.0), Align::Center));
        let beside = (left - 18.6 - widest, middle_y - 1.0);
        shapes.push(Shape::Text(self.y_label.into(), beside, Align::Upright));
        if let Some(factor) = &x_axis.factor {
            shapes.push(Shape::Text(factor.clone(), (RIGHT, BOTTOM + 38.0), Align::Right));
        }
        if let Some(factor) = &y_axis.factor {
            shapes.push(Shape::Text(factor.clone(), (left, TOP - 5.0), Align::Left));
        }

        let mut marks = Vec::new();
        // All dots first, for a plus sign would vanish below a dot.
        let layers = SETS.iter().flat_map(|(set, _)| self.series.iter().filter(move |s| s.set == *set));
        for series in layers {
            let mut taken = HashSet::new();
            for pixel in series.points.iter().map(|&(x, y)| (column(x), row(y))) {
                if taken.insert((pixel.0 as i64, pixel.1 as i64)) {
                    marks.push(pixel);
                    shapes.push(series.mark(pixel));
                }
            }
        }
        for (x, y) in [(left, TOP), (RIGHT, BOTTOM)] {
            shapes.push(Shape::Bar((x, TOP), (x + 1.0, BOTTOM + 1.0), BLACK));
            shapes.push(Shape::Bar((left, y), (RIGHT + 1.0, y + 1.0), BLACK));
        }
        shapes.extend(legend::legend(&self.series, &marks, left)?);
        Ok(shapes)
    }
}
