//! Accuracy, loss or another metric against epoch: the notebook's matplotlib cell, from `metrics.csv` alone.
//!
//! Mirrors `mnist_results.plot(x='epoch', y=…, marker=…, color=…)` on `plt.subplots(figsize=(6, 6))`. No line joins the
//! marks: `metrics.csv` has empty cells between them, and pandas breaks its lines there. Only the legend shows the line.

use std::path::Path;

use plotters::prelude::*;

use super::axes::SIZE;
use super::legend::{Line, Marker};
use super::lines::{Plot, Series};
use super::metric::{Metric, Set};
use super::names::{ROOM, Source, can_show, names, shortened};
use super::page::{self, FINE, Page};
use super::series::{self, CsvError, Points};
use super::style::{MAX_RUNS, TAB10};
use super::{Error, Name};
use crate::util::file;

/// Of training and validation.
const MARKERS: [Marker; 2] = [Marker::Dot, Marker::Plus];

/// The most lines of a legend that names run and set in each; twice as many would cover the axes from top to bottom.
const MAX_LINES: usize = 10;

/// Some 300,000 rows. To read a file of nothing but commas takes almost 60 times its size in memory.
const MAX_CSV: u64 = 16 << 20;

/// The series of a run from the points and colors of training and validation.
fn of_run(run: &str, colors: [RGBColor; 2], points: [Option<Points>; 2]) -> impl Iterator<Item = Series> {
    let sets = points.into_iter().zip(colors).enumerate();
    sets.filter_map(move |(set, (points, color))| {
        Some(Series { name: run.to_owned(), marker: MARKERS[set], color, points: points? })
    })
}

/// A metric against epoch: training as dots, validation as plus signs; of many epochs lines, training thick,
/// validation thin.
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
    /// Width and height in pixels; 600×600 if nothing else is said.
    pub size: (usize, usize),
    /// Whether the y axis is logarithmic; points at 0 or below are not drawn then.
    pub log_y: bool,
    metric: Metric,
    series: Vec<Series>,
    /// Points of other figures that the axes show too.
    shared: Points,
}

/// Has figures that stand side by side show the same part of their axes.
pub fn share_limits(figures: &mut [Figure]) {
    let points: Points =
        figures.iter().flat_map(|figure| &figure.series).flat_map(|series| &series.points).copied().collect();
    figures.iter_mut().for_each(|figure| figure.shared.clone_from(&points));
}

/// The notebook's figure: training accuracy as black dots, validation accuracy as red plus signs.
///
/// Reads what Lightning's `CSVLogger` writes, also as R or pandas wrote it again. A cell that is empty, `NA`, `null`,
/// `None` or not finite gives no point.
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
    Figure::read(Metric::Accuracy, &[source], true)
}

impl Figure {
    /// A metric of one run in the notebook's colors, of several in a color each, ten at most.
    ///
    /// A run without one of the two columns of accuracy or loss, such as one without validation, is drawn without it.
    ///
    /// # Errors
    /// Too many runs, two that the legend can't tell apart, or a name that the font can't show. A file can't be read,
    /// lacks both columns or one that was named, holds a cell that is no number or its header twice, or not a single
    /// point.
    pub fn new(metric: Metric, sources: &[Source]) -> Result<Self, Error> {
        let must_have_all = metric.is_strict();
        Self::read(metric, sources, must_have_all)
    }

    fn read(metric: Metric, sources: &[Source], must_have_all: bool) -> Result<Self, Error> {
        if sources.len() > MAX_RUNS {
            return Err(Error::TooManyRuns { count: sources.len() });
        }
        let names = names(sources)?;
        if let Metric::Columns { training, validation } = &metric {
            [training, validation].into_iter().flatten().try_for_each(|column| can_show(column))?;
        }
        let mut series = vec![];
        for ((Source { metrics_csv, .. }, name), color) in sources.iter().zip(names).zip(TAB10) {
            let colors = if sources.len() == 1 { [BLACK, RED] } else { [color; 2] };
            let csv = file::read(metrics_csv, MAX_CSV)?;
            let points = series::points(&csv, metric.columns(), must_have_all);
            let points = points.map_err(|reason| Error::Csv { path: metrics_csv.clone(), reason })?;
            series.extend(of_run(&name, colors, points));
        }
        Ok(Self::of(metric, series))
    }

    fn of(metric: Metric, series: Vec<Series>) -> Self {
        Self { size: SIZE, log_y: false, metric, series, shared: vec![] }
    }

    /// What it shows.
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// Leaves the other series out; whether anything is left.
    pub fn keep(&mut self, set: Set) -> bool {
        self.series.retain(|series| series.marker == MARKERS[set as usize]);
        self.series.iter().any(|series| !series.points.is_empty())
    }

    /// As [`Figure::new`] of one run without a name, from the bytes of its `metrics.csv`.
    ///
    /// # Errors
    /// The table lacks both columns or one that was named, holds a cell that is no number or its header twice, or not a
    /// single point.
    pub fn from_csv(metric: Metric, csv: &[u8]) -> Result<Self, CsvError> {
        let points = series::points(csv, metric.columns(), metric.is_strict())?;
        Ok(Self::of(metric, of_run("", [BLACK, RED], points).collect()))
    }

    /// The bytes of a PNG file, RGB.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        page::png(self.size, |page| self.draw(page))
    }

    /// The text of an SVG file.
    pub fn to_svg(&self) -> Result<String, Error> {
        page::svg(self.size, |page| self.draw(page))
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let (y_name, _) = self.metric.names();
        // Some of the height is the x axis' ticks and name.
        let y_name = shortened(&Name::Given(y_name), self.size.1 as i32 * FINE * 3 / 4);
        let plot = Plot {
            size: self.size,
            names: ["epoch", &y_name],
            log_y: self.log_y,
            is_joined: false,
            shared: &self.shared,
        };
        // All dots first, for a plus sign would vanish below a dot.
        let series = MARKERS.into_iter().flat_map(|marker| self.of_set(marker));
        plot.draw(page, series, |is_line| {
            let lines = self.legend().into_iter();
            // Of lines a thick one is training.
            lines.map(|line| if is_line { line.without_marker() } else { line }).collect()
        })
    }

    fn of_set(&self, marker: Marker) -> impl Iterator<Item = &Series> + Clone {
        self.series.iter().filter(move |series| series.marker == marker)
    }

    /// "MNIST/version_0 Training", "MNIST/version_0 Validation", … or, for many runs, "Training", "Validation",
    /// "MNIST/version_0", …
    fn legend(&self) -> Vec<Line> {
        let (_, sets) = self.metric.names();
        let sets = sets.map(|set| shortened(&Name::Given(set), ROOM));
        let line = |run: &str, marker: Marker, color| {
            let name = &sets[usize::from(marker == Marker::Plus)];
            Line { text: format!("{run} {name}").trim_start().to_owned(), color, marker: Some(marker) }
        };
        if self.series.len() <= MAX_LINES {
            return self
                .series
                .iter()
                .map(|series| line(&series.name, series.marker, series.color))
                .collect();
        }
        let drawn = |marker: &Marker| self.of_set(*marker).next().is_some();
        let sets = MARKERS.into_iter().filter(drawn).map(|marker| line("", marker, BLACK));
        let runs = self.series.chunk_by(|a, b| a.color == b.color);
        let runs = runs.map(|run| Line { text: run[0].name.clone(), color: run[0].color, marker: None });
        sets.chain(runs).collect()
    }
}
