//! The spread of many runs: bands around a line, bars, and stacks of dots.

use plotters::prelude::*;

use super::Error;
use super::axis::{Axis, Entry, axes, legend};
use super::lines::draw_path;
use super::page::{Draw, Page};
use super::style::{FINE, Mark, Marker, SIZE, TAB10};

/// The opacity of a band and of a range.
const TINT: f64 = 0.25;

/// Half the height of a bar, as a fraction of its space.
const HALF: f64 = 0.3;

/// Intervals into which a stack divides the range of its values.
const STACKS: f64 = 48.0;

/// A line within a band, for each name.
///
/// ```
/// use islp_mnist::chart::{Bands, Picture};
///
/// let mut bands = Bands::new("epoch", "Accuracy");
/// bands.add("Mine", vec![(0.0, [0.8, 0.85, 0.9]), (1.0, [0.9, 0.92, 0.94])]);
/// assert!(bands.to_svg()?.contains("<polygon"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bands {
    /// Width and height in pixels.
    pub size: (usize, usize),
    names: [String; 2],
    bands: Vec<Band>,
}

#[derive(Clone, Debug)]
struct Band {
    name: String,
    color: RGBColor,
    points: Vec<(f64, [f64; 3])>,
}

impl Bands {
    /// Creates a chart without bands, with these names of the axes.
    pub fn new(x_name: &str, y_name: &str) -> Self {
        Self { size: SIZE, names: [x_name.to_owned(), y_name.to_owned()], bands: vec![] }
    }

    /// Adds a band: for each x, in order, its lower end, the line and its upper end, all finite.
    pub fn add(&mut self, name: &str, points: Vec<(f64, [f64; 3])>) {
        let color = TAB10[self.bands.len() % TAB10.len()];
        self.bands.push(Band { name: name.to_owned(), color, points });
    }
}

impl Draw for Bands {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let points = || self.bands.iter().flat_map(|band| &band.points);
        let x_axis = Axis::new(points().map(|(x, _)| *x));
        let y_axis = Axis::new(points().flat_map(|(_, ends)| *ends));
        let mut chart = axes(page, self.size, (x_axis, &self.names[0]), (y_axis, &self.names[1]))?;
        for Band { color, points, .. } in &self.bands {
            let lower = points.iter().map(|(x, ends)| (*x, ends[0]));
            let upper = points.iter().rev().map(|(x, ends)| (*x, ends[2]));
            let edge: Vec<_> = lower.chain(upper).collect();
            chart.draw_series([Polygon::new(edge, color.mix(TINT))])?;
        }
        let mut taken = vec![];
        for Band { color, points, .. } in &self.bands {
            let line: Vec<_> = points.iter().map(|(x, ends)| (*x, ends[1])).collect();
            let ends = points.iter().flat_map(|(x, ends)| ends.map(|y| (*x, y)));
            taken.extend(ends.map(|point| chart.backend_coord(&point)));
            draw_path(&mut chart, &line, *color, 2 * FINE)?;
        }
        let entries = self.bands.iter().map(|band| Entry::new(&band.name, band.color, None));
        legend(&mut chart, page, entries.collect(), &taken)
    }
}

/// Horizontal bars, the first at the top.
///
/// ```
/// use islp_mnist::chart::{Bars, Picture};
///
/// let bars = Bars::new("standard deviation", vec![("init".into(), 0.003), ("shuffle".into(), 0.004)]);
/// assert!(bars.to_svg()?.contains("shuffle"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bars {
    /// Width and height in pixels.
    pub size: (usize, usize),
    x_name: String,
    bars: Vec<(String, f64)>,
}

impl Bars {
    /// Takes the x axis' name, and the name and finite length of each bar, at least one.
    pub fn new(x_name: &str, bars: Vec<(String, f64)>) -> Self {
        Self { size: SIZE, x_name: x_name.to_owned(), bars }
    }
}

impl Draw for Bars {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let x_axis = Axis::new(self.bars.iter().map(|bar| bar.1).chain([0.0]));
        // The axis counts from the bottom.
        let names = self.bars.iter().rev().map(|bar| bar.0.clone()).collect();
        let mut chart = axes(page, self.size, (x_axis, &self.x_name), (Axis::names(names), ""))?;
        let bars = self.bars.iter().rev().enumerate().map(|(place, (_, length))| {
            let ends = [(0.0, place as f64 - HALF), (*length, place as f64 + HALF)];
            Rectangle::new(ends, TAB10[0].filled())
        });
        chart.draw_series(bars)?;
        Ok(())
    }
}

/// A dot for each value, stacked where values are close, with a line at a reference value and a range.
///
/// ```
/// use islp_mnist::chart::{Picture, Stack};
///
/// let mut stack =
///     Stack::new("accuracy", "seeds", vec![0.96, 0.961, 0.965], ("printed", 0.966), ("error", [0.96, 0.964]));
/// stack.mark("of another version", vec![0.962, 0.968]);
/// assert!(stack.to_svg()?.contains("of another version"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    /// Width and height in pixels.
    pub size: (usize, usize),
    names: [String; 2],
    values: Vec<f64>,
    line: (String, f64),
    range: (String, [f64; 2]),
    marks: Option<(String, Vec<f64>)>,
}

impl Stack {
    /// Takes the axes' names, finite values, and the line and the range with their names in the legend.
    pub fn new(
        x_name: &str,
        y_name: &str,
        values: Vec<f64>,
        (line, at): (&str, f64),
        (range, ends): (&str, [f64; 2]),
    ) -> Self {
        let names = [x_name.to_owned(), y_name.to_owned()];
        let (line, range) = ((line.to_owned(), at), (range.to_owned(), ends));
        Self { size: SIZE, names, values, line, range, marks: None }
    }

    /// Adds plus signs below the dots at these finite values, with their name in the legend.
    pub fn mark(&mut self, name: &str, values: Vec<f64>) {
        self.marks = Some((name.to_owned(), values));
    }

    /// The place of each dot.
    fn dots(&self) -> Vec<(f64, f64)> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let width = ((high - low) / STACKS).max(f64::MIN_POSITIVE);
        let stack = |value: &f64| ((value - low) / width).round();
        let stacks = sorted.chunk_by(|a, b| stack(a) == stack(b));
        let dots = stacks.flat_map(|values| {
            let x = low + stack(&values[0]) * width;
            (1..=values.len()).map(move |height| (x, height as f64))
        });
        dots.collect()
    }
}

impl Draw for Stack {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let (dots, (_, line), (_, [low, high])) = (self.dots(), &self.line, &self.range);
        let highest = dots.iter().map(|dot| dot.1).fold(1.0, f64::max);
        let marked = self.marks.iter().flat_map(|(_, values)| values);
        let marks: Vec<_> = marked.map(|&value| (value, 0.0)).collect();
        let shown = dots.iter().chain(&marks).map(|at| at.0);
        let x_axis = Axis::new(shown.chain([*line, *low, *high]));
        let y_axis = Axis::new([0.0, highest].into_iter());
        let mut chart = axes(page, self.size, (x_axis, &self.names[0]), (y_axis, &self.names[1]))?;
        let [dot_color, range_color] = [TAB10[0], TAB10[1]];
        let range = Rectangle::new([(*low, 0.0), (*high, highest)], range_color.mix(TINT).filled());
        chart.draw_series([range])?;
        draw_path(&mut chart, &[(*line, 0.0), (*line, highest)], RED, 2 * FINE)?;
        let dot = |&at| Mark::new(at, dot_color, Marker::Dot);
        let plus = |&at| Mark::new(at, BLACK, Marker::Plus);
        chart.draw_series(dots.iter().map(dot).chain(marks.iter().map(plus)).collect::<Vec<_>>())?;
        let taken: Vec<_> = dots.iter().chain(&marks).map(|at| chart.backend_coord(at)).collect();
        let mut entries = vec![
            Entry::new("a seed", dot_color, Some(Marker::Dot)),
            Entry::new(&self.line.0, RED, None),
            Entry::new(&self.range.0, range_color, None),
        ];
        entries.extend(self.marks.iter().map(|(name, _)| Entry::new(name, BLACK, Some(Marker::Plus))));
        legend(&mut chart, page, entries, &taken)
    }
}
