//! Accuracy or loss against epoch: the notebook's matplotlib cell, from `metrics.csv` alone.
//!
//! Mirrors `mnist_results.plot(x='epoch', y=…, marker=…, color=…)` on `plt.subplots(figsize=(6, 6))`. No line joins the
//! marks: `metrics.csv` has empty cells between them, and pandas breaks its lines there. Only the legend shows the line.

use std::collections::HashSet;
use std::path::Path;

use plotters::prelude::*;

use super::axes::{SIZE, axes};
use super::axis::Axis;
use super::legend::{Line, Mark, Marker, legend};
use super::names::{Source, names};
use super::page::{self, Page};
use super::series::{self, CsvError, Points};
use super::{Error, Name};
use crate::util::file;

/// Training and validation.
const SETS: [(&str, Marker); 2] = [("Training", Marker::Dot), ("Validation", Marker::Plus)];

/// The most runs a figure holds: as many as matplotlib has colors, `tab10`.
pub(super) const MOST_RUNS: usize = 10;
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

/// The most lines of a legend that names run and set in each; twice as many would cover the axes from top to bottom.
const MOST_LINES: usize = 10;

/// Some 300,000 rows. To read a file of nothing but commas takes almost 60 times its size in memory.
const LARGEST_CSV: u64 = 16 << 20;

/// What the y axis shows.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric};
///
/// let figure = Figure::from_csv(Metric::Loss, b"epoch,train_loss\n0,1.5\n").unwrap();
/// assert!(figure.to_svg().unwrap().contains("Loss"));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Metric {
    /// `train_accuracy_epoch` and `valid_accuracy`.
    Accuracy,
    /// `train_loss` and `valid_loss`.
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
}

/// The marks of one kind and color.
#[derive(Clone, Debug)]
struct Series {
    /// What the legend shows of the run's name.
    run: String,
    /// Which of [`SETS`].
    set: usize,
    color: RGBColor,
    points: Points,
}

/// The series of a run from the points and colors of [`SETS`].
fn of_run(run: &str, colors: [RGBColor; 2], points: [Option<Points>; 2]) -> impl Iterator<Item = Series> {
    let sets = points.into_iter().zip(colors).enumerate();
    sets.filter_map(move |(set, (points, color))| {
        Some(Series { run: run.to_owned(), set, color, points: points? })
    })
}

/// Accuracy or loss against epoch, 600×600 pixels: training as dots, validation as plus signs.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Name, Source};
///
/// let source = |name: &str| Source {
///     name: Name::Path(name.into()),
///     metrics_csv: format!("output/{name}/metrics.csv").into(),
/// };
/// let figure = Figure::new(Metric::Loss, &[source("MNIST/version_0"), source("MNIST_MLR/version_0")])?;
/// assert!(figure.to_png()?.starts_with(b"\x89PNG"));
/// assert!(figure.to_svg()?.contains("MNIST_MLR/version_0 Validation"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    metric: Metric,
    series: Vec<Series>,
}

/// The notebook's figure: training accuracy as black dots, validation accuracy as red plus signs.
///
/// Reads what Lightning's `CSVLogger` writes. A cell that is empty or not finite gives no point.
///
/// ```
/// let figure = islp_mnist::chart::accuracy("output/MNIST/version_0/metrics.csv".as_ref())?;
/// assert!(figure.to_svg()?.contains("Accuracy"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
///
/// # Errors
/// As [`Figure::new`], and a file without one of the two columns.
pub fn accuracy(metrics_csv: &Path) -> Result<Figure, Error> {
    let source = Source { name: Name::Given(String::new()), metrics_csv: metrics_csv.to_owned() };
    let figure = Figure::new(Metric::Accuracy, &[source])?;
    for (set, column) in Metric::Accuracy.columns().into_iter().enumerate() {
        if figure.series.iter().all(|series| series.set != set) {
            let reason = CsvError::NoColumn { names: column.to_owned() };
            return Err(Error::Csv { path: metrics_csv.to_owned(), reason });
        }
    }
    Ok(figure)
}

impl Figure {
    /// A metric of one run in the notebook's colors, of several in a color each, ten at most.
    ///
    /// A run without one of the metric's two columns, such as one without validation, is drawn without it.
    ///
    /// # Errors
    /// Too many runs, or two that the legend can't tell apart. A file can't be read, lacks both columns, holds a cell
    /// that is no number, or not a single point.
    pub fn new(metric: Metric, sources: &[Source]) -> Result<Self, Error> {
        if sources.len() > MOST_RUNS {
            return Err(Error::TooManyRuns { count: sources.len() });
        }
        let names = names(sources)?;
        let mut series = vec![];
        for ((Source { metrics_csv, .. }, name), color) in sources.iter().zip(names).zip(TAB10) {
            let colors = if sources.len() == 1 { [BLACK, RED] } else { [color; 2] };
            let points = series::points(&file::read(metrics_csv, LARGEST_CSV)?, metric.columns());
            let points = points.map_err(|reason| Error::Csv { path: metrics_csv.clone(), reason })?;
            series.extend(of_run(&name, colors, points));
        }
        Ok(Self { metric, series })
    }

    /// As [`Figure::new`] of one run without a name, from the bytes of its `metrics.csv`.
    ///
    /// # Errors
    /// The table lacks both columns, holds a cell that is no number, or not a single point.
    pub fn from_csv(metric: Metric, csv: &[u8]) -> Result<Self, CsvError> {
        let points = series::points(csv, metric.columns())?;
        Ok(Self { metric, series: of_run("", [BLACK, RED], points).collect() })
    }

    /// The bytes of a PNG file, RGB.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        page::png(SIZE, |page| self.draw(page))
    }

    /// The text of an SVG file.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_svg(&self) -> Result<String, Error> {
        page::svg(SIZE, |page| self.draw(page))
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let y_name = match self.metric {
            Metric::Accuracy => "Accuracy",
            Metric::Loss => "Loss",
        };
        let x_axis = Axis::new(points().map(|point| point.0));
        let y_axis = Axis::new(points().map(|point| point.1));
        let mut chart = axes(page, (x_axis, "epoch"), (y_axis, y_name))?;
        let mut marks = vec![];
        // All dots first, for a plus sign would vanish below a dot.
        for series in
            [0, 1].into_iter().flat_map(|set| self.series.iter().filter(move |series| series.set == set))
        {
            // Many epochs have many marks on a pixel.
            let mut taken = HashSet::new();
            let points = series.points.iter().filter(|point| taken.insert(chart.backend_coord(point)));
            let mark = |&at| Mark { at, color: series.color, marker: Some(SETS[series.set].1), line: (0, 0) };
            let drawn: Vec<_> = points.map(mark).collect();
            chart.draw_series(drawn)?;
            marks.extend(taken);
        }
        legend(&mut chart, page, self.legend(), &marks)
    }

    /// "MNIST/version_0 Training", "MNIST/version_0 Validation", … or, for many runs, "Training", "Validation",
    /// "MNIST/version_0", …
    fn legend(&self) -> Vec<Line> {
        let line = |run: &str, set: usize, color| {
            let (name, marker) = SETS[set];
            Line { text: format!("{run} {name}").trim_start().to_owned(), color, marker: Some(marker) }
        };
        if self.series.len() <= MOST_LINES {
            return self.series.iter().map(|series| line(&series.run, series.set, series.color)).collect();
        }
        let drawn = |set: &usize| self.series.iter().any(|series| series.set == *set);
        let sets = [0, 1].into_iter().filter(drawn).map(|set| line("", set, BLACK));
        let runs = self.series.chunk_by(|a, b| a.color == b.color);
        let runs = runs.map(|run| Line { text: run[0].run.clone(), color: run[0].color, marker: None });
        sets.chain(runs).collect()
    }
}
