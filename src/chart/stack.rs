//! A distribution: a dot for each value, stacked where they are alike.

use plotters::prelude::*;

use super::Error;
use super::axes::{SIZE, axes};
use super::axis::Axis;
use super::legend::{Line, Mark, Marker, legend};
use super::lines::draw_path;
use super::page::{self, FINE, Page};
use super::style::TAB10;

/// How many stacks there are at most.
const STACKS: f64 = 48.0;

/// A dot for each value, beside a value that they are held against and a range around their mean.
///
/// ```
/// use islp_mnist::chart::Stack;
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
    /// Of finite values; the axes' names, and what the line and the range are called in the legend.
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

    /// Small marks below the dots at these finite values, and what they are called in the legend.
    pub fn mark(&mut self, name: &str, values: Vec<f64>) {
        self.marks = Some((name.to_owned(), values));
    }

    /// The bytes of a PNG file, RGB.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        page::png(self.size, |page| self.draw(page))
    }

    /// The text of an SVG file.
    pub fn to_svg(&self) -> Result<String, Error> {
        page::svg(self.size, |page| self.draw(page))
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
        let range = Rectangle::new([(*low, 0.0), (*high, highest)], range_color.mix(0.25).filled());
        chart.draw_series([range])?;
        draw_path(&mut chart, &[(*line, 0.0), (*line, highest)], RED, 2 * FINE)?;
        let dot = |&at| Mark { at, color: dot_color, marker: Some(Marker::Dot), line: (0, 0) };
        let plus = |&at| Mark { at, color: BLACK, marker: Some(Marker::Plus), line: (0, 0) };
        chart.draw_series(dots.iter().map(dot).chain(marks.iter().map(plus)).collect::<Vec<_>>())?;
        let taken: Vec<_> = dots.iter().chain(&marks).map(|at| chart.backend_coord(at)).collect();
        let mut lines = vec![
            Line { text: "a seed".into(), color: dot_color, marker: Some(Marker::Dot) },
            Line { text: self.line.0.clone(), color: RED, marker: None },
            Line { text: self.range.0.clone(), color: range_color, marker: None },
        ];
        let marks = self.marks.iter();
        lines.extend(marks.map(|(name, _)| Line {
            text: name.clone(),
            color: BLACK,
            marker: Some(Marker::Plus),
        }));
        legend(&mut chart, page, lines, &taken)
    }
}
