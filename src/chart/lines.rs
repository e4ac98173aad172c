//! Points against points: as marks, or as lines where there are too many for marks.

use std::collections::HashSet;

use plotters::prelude::*;

use super::axis::{Axes, Axis, Chart};
use super::legend::{Entry, Legend, Sample};
use super::page::{Draw, Page};
use super::style::{FINE, Mark, Marker, SIZE, TAB10};
use super::{Error, Points};

/// Pixels of width that a mark needs so that it does not touch the next.
const ROOM: usize = 8;

/// Named series of points in one pair of axes.
///
/// ```
/// use islp_mnist::chart::{Lines, Picture};
///
/// let mut lines = Lines::new("step", "difference");
/// lines.log_y = true;
/// lines.add("Loss", vec![(0.0, 1e-7), (100.0, 1e-3), (200.0, 0.1)]);
/// assert!(lines.to_svg()?.contains("10⁻⁵"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// Makes the y axis logarithmic, without points at 0 or below.
    pub log_y: bool,
    names: [String; 2],
    series: Vec<Series>,
}

/// The points of one name and color.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub color: RGBColor,
    pub marker: Marker,
    pub points: Points,
    pub style: Style,
}

/// How the points of a series are drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Style {
    /// As marks.
    Marks,
    /// As marks joined by a line.
    Joined,
    /// As a line without marks.
    Line,
    /// As marks within intervals, which have these ends.
    Intervals(Vec<[f64; 2]>),
}

/// Axes to draw series in.
pub struct Plot<'a> {
    pub size: (usize, usize),
    pub names: [&'a str; 2],
    pub log_y: bool,
}

impl Lines {
    /// Creates a chart without series, with these names of the axes.
    pub fn new(x_name: &str, y_name: &str) -> Self {
        Self { size: SIZE, log_y: false, names: [x_name.to_owned(), y_name.to_owned()], series: vec![] }
    }

    /// Adds finite points, in the order in which a line joins them.
    pub fn add(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.push(name, points, Style::Joined);
    }

    /// Adds a line through finite points, without marks at them.
    pub fn add_line(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.push(name, points, Style::Line);
    }

    /// Adds finite points with the ends of their intervals, not joined.
    ///
    /// ```
    /// use islp_mnist::chart::{Lines, Picture};
    ///
    /// let mut lines = Lines::new("confidence", "accuracy");
    /// lines.add_line("calibrated", vec![(0.0, 0.0), (1.0, 1.0)]);
    /// lines.add_intervals("this model", vec![(0.5, [0.4, 0.45, 0.5])]);
    /// assert!(lines.to_svg()?.contains("calibrated"));
    /// # Ok::<(), islp_mnist::chart::Error>(())
    /// ```
    pub fn add_intervals(&mut self, name: &str, points: Vec<(f64, [f64; 3])>) {
        let ends = points.iter().map(|(_, [low, _, high])| [*low, *high]).collect();
        self.push(name, points.iter().map(|(x, [_, y, _])| (*x, *y)).collect(), Style::Intervals(ends));
    }

    fn push(&mut self, name: &str, points: Points, style: Style) {
        let color = TAB10[self.series.len() % TAB10.len()];
        self.series.push(Series { name: name.to_owned(), color, marker: Marker::Dot, points, style });
    }
}

impl Draw for Lines {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let [x, y] = &self.names;
        let plot = Plot { size: self.size, names: [x, y], log_y: self.log_y };
        let named = if self.series.len() > 1 { &self.series[..] } else { &[] };
        plot.draw(page, self.series.iter(), named.iter().map(Series::entry).collect())
    }
}

impl Series {
    /// The series in the legend.
    pub fn entry(&self) -> Entry {
        let sample = match self.style {
            Style::Line => Sample::Line,
            Style::Intervals(_) => Sample::Marker(self.marker),
            Style::Marks | Style::Joined => Sample::MarkerOnLine(self.marker),
        };
        Entry::new(&self.name, self.color, sample)
    }

    /// The ends of the intervals, each as a line; empty if there are none.
    fn intervals(&self) -> impl Iterator<Item = [(f64, f64); 2]> {
        let ends = if let Style::Intervals(ends) = &self.style { &ends[..] } else { &[] };
        self.points.iter().zip(ends).map(|((x, _), [low, high])| [(*x, *low), (*x, *high)])
    }
}

impl Plot<'_> {
    /// Draws the series, the first at the bottom, and the legend, without markers where the series are lines.
    pub fn draw<'a, 's, DB: DrawingBackend + 'a>(
        &self,
        page: &Page<DB>,
        series: impl Iterator<Item = &'s Series>,
        entries: Vec<Entry>,
    ) -> Result<(), Error> {
        let is_shown = |point: &&(f64, f64)| !self.log_y || point.1 > 0.0;
        let series: Vec<(&Series, Points)> =
            series.map(|series| (series, series.points.iter().filter(is_shown).copied().collect())).collect();
        let points = || series.iter().flat_map(|(_, points)| points);
        let intervals = || series.iter().flat_map(|(series, _)| series.intervals());
        if points().next().is_none() {
            return Err(Error::NothingAbove0);
        }
        let x_axis = Axis::of_counts(points().map(|point| point.0));
        let y = points().map(|point| point.1).chain(intervals().flatten().map(|point| point.1));
        let y_axis = if self.log_y { Axis::log(y) } else { Axis::new(y) };
        let is_line = series.iter().any(|(series, _)| series.points.len() > self.size.0 * 3 / 4 / ROOM);
        let paths = series.iter().flat_map(|(series, points)| {
            let is_path = is_line || matches!(series.style, Style::Joined | Style::Line);
            if is_path { vec![points.clone()] } else { points.iter().map(|&point| vec![point]).collect() }
        });
        let paths: Vec<Points> = paths.chain(intervals().map(|ends| ends.to_vec())).collect();
        let shown = |entry| if is_line { Entry { sample: Sample::Line, ..entry } } else { entry };
        let legend = Legend::new(page, entries.into_iter().map(shown).collect())?;
        let axes = Axes { size: self.size, x: (x_axis, self.names[0]), y: (y_axis, self.names[1]), paths };
        let (mut chart, at) = axes.draw(page, legend.as_ref())?;
        for (series, points) in &series {
            if is_line || series.style == Style::Line {
                draw_line(&mut chart, series, points)?;
                continue;
            }
            if series.style == Style::Joined {
                draw_line(&mut chart, series, points)?;
            }
            for ends in series.intervals() {
                draw_path(&mut chart, &ends, series.color, FINE)?;
            }
            // With many epochs marks share a pixel.
            let mut taken = HashSet::new();
            let points = points.iter().filter(|point| taken.insert(chart.backend_coord(point)));
            let mark = |&at| Mark::new(at, series.color, series.marker);
            let drawn: Vec<_> = points.map(mark).collect();
            chart.draw_series(drawn)?;
        }
        legend.map_or(Ok(()), |legend| legend.draw(page, at))
    }
}

/// Draws a line through the points, thin for validation, so that it is visible on top of training's.
fn draw_line<DB: DrawingBackend>(
    chart: &mut Chart<DB>,
    series: &Series,
    points: &[(f64, f64)],
) -> Result<(), Error> {
    let width = if series.marker == Marker::Plus { FINE } else { 2 * FINE };
    let kept = thinned(points, |point| chart.backend_coord(point));
    draw_path(chart, &kept, series.color, width)
}

/// Draws a line through the points; its width is in the page's units.
pub fn draw_path<DB: DrawingBackend>(
    chart: &mut Chart<DB>,
    points: &[(f64, f64)],
    color: RGBColor,
    width: i32,
) -> Result<(), Error> {
    let style = color.stroke_width(width as u32);
    // One piece at a time, since plotters' bitmap has long spikes where a thick line turns sharply.
    chart.draw_series(points.windows(2).map(|ends| PathElement::new(ends.to_vec(), style)))?;
    Ok(())
}

/// Keeps the lowest and the highest of successive points in one column of pixels; the others would not show.
fn thinned(points: &[(f64, f64)], place: impl Fn(&(f64, f64)) -> (i32, i32)) -> Points {
    let column = |point: &(f64, f64)| place(point).0.div_euclid(FINE);
    let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let mut kept = vec![];
    for column in points.chunk_by(|a, b| column(a) == column(b)) {
        let ends = [column.iter().min_by(by_height), column.iter().max_by(by_height)];
        let is_end = |point: &&(f64, f64)| ends.iter().flatten().any(|end| std::ptr::eq(*end, *point));
        kept.extend(column.iter().filter(is_end).copied());
    }
    kept
}
