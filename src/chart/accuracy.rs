//! Accuracy, loss or another metric against epoch: the notebook's matplotlib cell, from `metrics.csv` alone.
//!
//! Mirrors `mnist_results.plot(x='epoch', y=…, marker=…, color=…)` on `plt.subplots(figsize=(6, 6))`. No line joins the
//! marks: `metrics.csv` has empty cells between them, where pandas breaks its lines. Only the legend shows the line.

use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::legend::{Entry, Name, ROOM, Sample, shortened};
use super::lines::{Plot, Series, Style};
use super::metric::{CsvError, Metric, Set, points};
use super::page::{Draw, Page, Picture as _, unsupported_char};
use super::style::{FINE, MAX_RUNS, Marker, SIZE, TAB10};
use super::{Error, Points};
use crate::util::file;
use crate::util::text::shown as printable;

/// The markers of training and validation.
const MARKERS: [Marker; 2] = [Marker::Dot, Marker::Plus];

/// Most entries that each name run and set; twice as many would cover the axes from top to bottom.
const MAX_ENTRIES: usize = 10;

/// Some 300,000 rows. Reading a file of only commas takes almost 60 times its size in memory.
const MAX_CSV: u64 = 16 << 20;

/// A metric against epoch: training as dots, validation as plus signs, or, for many epochs, as a thick and a thin line.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Name, Picture, Source};
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
    /// Width and height in pixels; 600×600 by default.
    pub size: (usize, usize),
    /// Makes the y axis logarithmic, without points at 0 or below.
    pub log_y: bool,
    metric: Metric,
    series: Vec<Series>,
}

/// A run to draw; [`Figure`] and [`Name`] have examples.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the legend.
    pub name: Name,
    /// The file that Lightning's `CSVLogger` writes, at most 16 MiB.
    pub metrics_csv: PathBuf,
}

/// The notebook's figure: training accuracy as black dots, validation accuracy as red plus signs.
///
/// Reads what Lightning's `CSVLogger` writes, and the same table written by R or pandas. A cell that is empty, `NA`,
/// `null`, `None` or not finite gives no point.
///
/// ```
/// use islp_mnist::chart::Picture;
///
/// let figure = islp_mnist::chart::accuracy("output/MNIST/version_0/metrics.csv")?;
/// assert!(figure.to_svg()?.contains("Accuracy"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
///
/// # Errors
/// Fails like [`Figure::new`], or if the file lacks one of the two columns.
pub fn accuracy(metrics_csv: impl AsRef<Path>) -> Result<Figure, Error> {
    let source = Source { name: Name::Given(String::new()), metrics_csv: metrics_csv.as_ref().to_owned() };
    Figure::read(Metric::Accuracy, &[source], true)
}

impl Figure {
    /// Reads one run, drawn in the notebook's colors, or up to ten, in one color each.
    ///
    /// For accuracy and loss a run may lack one of the two columns, such as one without validation.
    ///
    /// # Errors
    /// Fails if there are too many runs, two have the same name in the legend, or the font can't show a name. Also if a
    /// file can't be read, lacks both columns or one that the metric names, contains a cell that is not a number or its
    /// header twice, or has no point.
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
            let points = points(&csv, metric.columns(), must_have_all);
            let points = points.map_err(|reason| Error::Csv { path: metrics_csv.clone(), reason })?;
            series.extend(of_run(&name, colors, points));
        }
        Ok(Self::of(metric, series))
    }

    fn of(metric: Metric, series: Vec<Series>) -> Self {
        Self { size: SIZE, log_y: false, metric, series }
    }

    /// The metric on the y axis.
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// Keeps only this set's series; returns false if no point is left.
    pub fn keep(&mut self, set: Set) -> bool {
        self.series.retain(|series| series.marker == MARKERS[set as usize]);
        self.series.iter().any(|series| !series.points.is_empty())
    }

    /// Creates the figure of one run without a name, from the bytes of its `metrics.csv`.
    ///
    /// # Errors
    /// Fails if the table lacks both columns or one that the metric names, contains a cell that is not a number or its
    /// header twice, or has no point.
    pub fn from_csv(metric: Metric, csv: &[u8]) -> Result<Self, CsvError> {
        let points = points(csv, metric.columns(), metric.is_strict())?;
        Ok(Self::of(metric, of_run("", [BLACK, RED], points).collect()))
    }

    /// Creates the figure of several runs with these names, one color each, from the bytes of their `metrics.csv`. Runs
    /// without the metric are left out; none if no run has it, or there are too many.
    pub fn of_runs(metric: Metric, runs: &[(Name, &[u8])]) -> Option<Self> {
        let mut series = vec![];
        for ((name, csv), color) in runs.iter().zip(TAB10) {
            let Ok(points) = points(csv, metric.columns(), metric.is_strict()) else { continue };
            series.extend(of_run(&shortened(name, ROOM), [color; 2], points));
        }
        (!series.is_empty() && runs.len() <= MAX_RUNS).then(|| Self::of(metric, series))
    }

    /// Makes the y axis logarithmic, unless no value is above 0; returns what a caption says of it.
    pub fn use_log_axis(&mut self) -> &'static str {
        self.log_y = true;
        self.log_y = self.to_svg().is_ok();
        if self.log_y { ", on a log axis," } else { "" }
    }

    fn of_set(&self, marker: Marker) -> impl Iterator<Item = &Series> + Clone {
        self.series.iter().filter(move |series| series.marker == marker)
    }

    /// "MNIST/version_0 Training", "MNIST/version_0 Validation", …, or, with many runs, "Training", "Validation",
    /// "MNIST/version_0", …
    fn legend(&self) -> Vec<Entry> {
        let (_, sets) = self.metric.names();
        let sets = sets.map(|set| shortened(&Name::Given(set), ROOM));
        let entry = |run: &str, marker: Marker, color| {
            let name = &sets[usize::from(marker == Marker::Plus)];
            Entry::new(format!("{run} {name}").trim_start(), color, Sample::MarkerOnLine(marker))
        };
        if self.series.len() <= MAX_ENTRIES {
            let entries = self.series.iter().map(|series| entry(&series.name, series.marker, series.color));
            return entries.collect();
        }
        let drawn = |marker: &Marker| self.of_set(*marker).next().is_some();
        let sets = MARKERS.into_iter().filter(drawn).map(|marker| entry("", marker, BLACK));
        let runs = self.series.chunk_by(|a, b| a.color == b.color);
        let runs = runs.map(|run| Entry::new(&run[0].name, run[0].color, Sample::Line));
        sets.chain(runs).collect()
    }
}

impl Draw for Figure {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let (y_name, _) = self.metric.names();
        // The x axis' ticks and name take some of the height.
        let y_name = shortened(&Name::Given(y_name), self.size.1 as i32 * FINE * 3 / 4);
        let plot = Plot { size: self.size, names: ["epoch", &y_name], log_y: self.log_y };
        // All dots first, since a dot would cover a plus sign.
        plot.draw(page, MARKERS.into_iter().flat_map(|marker| self.of_set(marker)), self.legend())
    }
}

/// A run's series, from the colors and points of training and validation.
fn of_run(run: &str, colors: [RGBColor; 2], points: [Option<Points>; 2]) -> impl Iterator<Item = Series> {
    let sets = points.into_iter().zip(colors).enumerate();
    sets.filter_map(move |(set, (points, color))| {
        Some(Series {
            name: run.to_owned(),
            marker: MARKERS[set],
            color,
            points: points?,
            style: Style::Marks,
        })
    })
}

/// Returns the runs' names as the legend shows them.
fn names(sources: &[Source]) -> Result<Vec<String>, Error> {
    for source in sources {
        let (Name::Given(label) | Name::Path(label)) = &source.name;
        can_show(label)?;
    }
    let shown: Vec<String> = sources.iter().map(|source| shortened(&source.name, ROOM)).collect();
    for (i, name) in shown.iter().enumerate() {
        if let Some(other) = shown[..i].iter().position(|other| other == name) {
            let names = [other, i].map(|i| match &sources[i].name {
                Name::Given(name) | Name::Path(name) => printable(name),
            });
            return Err(Error::SameName { names, shown: name.clone() });
        }
    }
    Ok(shown)
}

/// Fails if the figure's font can't show a name, apart from control characters, which are never shown.
fn can_show(name: &str) -> Result<(), Error> {
    let label: String = name.chars().filter(|c| !c.is_control()).collect();
    match unsupported_char(&label) {
        Some(character) => Err(Error::Glyph { label, character }),
        None => Ok(()),
    }
}
