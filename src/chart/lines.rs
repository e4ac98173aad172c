//! Points against points: as marks, or as lines where there are too many for marks.

use std::collections::HashSet;

use plotters::prelude::*;

use super::axis::{Axis, Chart, Entry, axes, legend};
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
}

/// Axes to draw series in.
pub struct Plot<'a> {
    pub size: (usize, usize),
    pub names: [&'a str; 2],
    pub log_y: bool,
    /// Joins the marks by a line.
    pub is_joined: bool,
    /// Further points that must fit into the axes.
    pub shared: &'a [(f64, f64)],
}

impl Lines {
    /// Creates a chart without series, with these names of the axes.
    pub fn new(x_name: &str, y_name: &str) -> Self {
        Self { size: SIZE, log_y: false, names: [x_name.to_owned(), y_name.to_owned()], series: vec![] }
    }

    /// Adds finite points, in the order in which a line joins them.
    pub fn add(&mut self, name: &str, points: Vec<(f64, f64)>) {
        let color = TAB10[self.series.len() % TAB10.len()];
        self.series.push(Series { name: name.to_owned(), color, marker: Marker::Dot, points });
    }
}

impl Draw for Lines {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let [x, y] = &self.names;
        let plot = Plot { size: self.size, names: [x, y], log_y: self.log_y, is_joined: true, shared: &[] };
        let named = if self.series.len() > 1 { &self.series[..] } else { &[] };
        plot.draw(page, self.series.iter(), named.iter().map(Series::entry).collect())
    }
}

impl Series {
    /// The series in the legend.
    pub fn entry(&self) -> Entry {
        Entry::new(&self.name, self.color, Some(self.marker))
    }
}

impl Plot<'_> {
    /// Draws the series, the first at the bottom, and the legend, without markers where the series are lines.
    pub fn draw<'a, 's, DB: DrawingBackend + 'a>(
        &self,
        page: &Page<DB>,
        series: impl Iterator<Item = &'s Series> + Clone,
        entries: Vec<Entry>,
    ) -> Result<(), Error> {
        let is_shown = |point: &&(f64, f64)| !self.log_y || point.1 > 0.0;
        let points = || series.clone().flat_map(|series| &series.points).chain(self.shared).filter(is_shown);
        if points().next().is_none() {
            return Err(Error::NothingAbove0);
        }
        let x_axis = Axis::new(points().map(|point| point.0));
        let y = points().map(|point| point.1);
        let y_axis = if self.log_y { Axis::log(y) } else { Axis::new(y) };
        let mut chart = axes(page, self.size, (x_axis, self.names[0]), (y_axis, self.names[1]))?;
        let width = chart.plotting_area().dim_in_pixel().0 as usize / FINE as usize;
        let is_line = series.clone().any(|series| series.points.len() > width / ROOM);
        let mut marks = vec![];
        for series in series {
            let points: Points = series.points.iter().filter(is_shown).copied().collect();
            if is_line {
                draw_line(&mut chart, series, points, &mut marks)?;
                continue;
            }
            if self.is_joined {
                draw_line(&mut chart, series, points.clone(), &mut marks)?;
            }
            // With many epochs marks share a pixel.
            let mut taken = HashSet::new();
            let points = points.iter().filter(|point| taken.insert(chart.backend_coord(point)));
            let mark = |&at| Mark::new(at, series.color, series.marker);
            let drawn: Vec<_> = points.map(mark).collect();
            chart.draw_series(drawn)?;
            marks.extend(taken);
        }
        if entries.is_empty() {
            return Ok(());
        }
        let shown = |entry| if is_line { Entry { marker: None, ..entry } } else { entry };
        legend(&mut chart, page, entries.into_iter().map(shown).collect(), &marks)
    }
}

/// Draws a line through the points, thin for validation, so that it is visible on top of training's.
fn draw_line<DB: DrawingBackend>(
    chart: &mut Chart<DB>,
    series: &Series,
    points: Points,
    marks: &mut Vec<(i32, i32)>,
) -> Result<(), Error> {
    let width = if series.marker == Marker::Plus { FINE } else { 2 * FINE };
    let kept = thinned(points, |point| chart.backend_coord(point));
    marks.extend(kept.iter().map(|point| chart.backend_coord(point)));
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
fn thinned(points: Points, place: impl Fn(&(f64, f64)) -> (i32, i32)) -> Points {
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
