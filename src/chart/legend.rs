//! matplotlib's marks, and the legend that explains them, inside the axes.

use std::iter::{Once, empty, once};

use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters_backend::BackendCoord;

use super::Error;
use super::axes::Chart;
use super::page::{Drawn, FINE, Page, text_width, whole_pixel};

/// matplotlib's `o` and `+` at their default size: 6 pt, and 1 pt of outline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Marker {
    Dot,
    Plus,
}

/// A mark on a point.
pub struct Mark<C> {
    pub at: C,
    pub color: RGBColor,
    pub marker: Option<Marker>,
    /// How long and wide the piece of line is that the mark lies on, in the page's units; `(0, 0)` for none.
    pub line: BackendCoord,
}

impl<'a, C> PointCollection<'a, C> for &'a Mark<C> {
    type Point = &'a C;
    type IntoIter = Once<&'a C>;

    fn point_iter(self) -> Self::IntoIter {
        once(&self.at)
    }
}

impl<C, DB: DrawingBackend> Drawable<DB> for Mark<C> {
    fn draw<I: Iterator<Item = BackendCoord>>(&self, at: I, backend: &mut DB, _: (u32, u32)) -> Drawn<DB> {
        for (x, y) in at {
            // Filled, as a line's width would be rounded.
            let mut bar = |(width, height): BackendCoord| {
                let (left, top) = (x - width / 2, y - height / 2);
                backend.draw_rect((left, top), (left + width, top + height), &self.color, true)
            };
            if self.line != (0, 0) {
                bar(self.line)?;
            }
            match self.marker {
                Some(Marker::Dot) => backend.draw_circle((x, y), 24, &self.color, true)?,
                Some(Marker::Plus) => [(41, 7), (7, 41)].into_iter().try_for_each(bar)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// A sample and what it stands for.
pub struct Line {
    pub text: String,
    pub color: RGBColor,
    /// None for a line that says only what the color means.
    pub marker: Option<Marker>,
}

impl Line {
    pub fn without_marker(self) -> Self {
        Self { marker: None, ..self }
    }
}

/// Units between the legend's box and what is in it, and those that a sample takes with the gap up to its text.
const MARGIN: i32 = 32;
const SAMPLE: i32 = 191;

/// Lower right, as in the notebook; in another corner if that hides fewer of the `marks`, which are in the page's units.
pub fn legend<'a, DB: DrawingBackend + 'a>(
    chart: &mut Chart<'a, DB>,
    page: &Page<DB>,
    lines: Vec<Line>,
    marks: &[BackendCoord],
) -> Result<(), Error> {
    let (left, top) = chart.plotting_area().get_base_pixel();
    let mut text = MultiLineText::<_, String>::new((0, 0), &page.text);
    let mut width = 0;
    for Line { text: line, color, marker } in lines {
        text.push_line(line.as_str());
        width = width.max(text_width(&line)? + SAMPLE + 2 * MARGIN);
        let series = chart.draw_series(empty::<Circle<(f64, f64), i32>>())?;
        series.label(line).legend(move |(x, y)| {
            // Without a mark on it a line needs more ink to show its color.
            let line = (146, if marker.is_some() { 11 } else { 31 });
            let at = (whole_pixel(left + x + 66) - left, whole_pixel(top + y - 6) - top);
            Mark { at, color, marker, line }
        });
    }
    let height = text.estimate_dimension().map_err(Error::drawing)?.1 + 2 * MARGIN;

    let (across, down) = chart.plotting_area().dim_in_pixel();
    let inset = 7 * FINE;
    let (right, bottom) = (across as i32 - inset - width, down as i32 - inset - height);
    let hidden = |&(x, y): &BackendCoord| {
        let near = |at, from, length| (from - 5 * FINE..=from + length + 5 * FINE).contains(&at);
        marks.iter().filter(|mark| near(mark.0 - left, x, width) && near(mark.1 - top, y, height)).count()
    };
    let corners = [(right, bottom), (right, inset), (inset, inset), (inset, bottom)];
    let (x, y) = corners.into_iter().min_by_key(hidden).unwrap_or(corners[0]);

    // plotters' own box has a border of no width in an SVG, and no round corners.
    let (l, t, r, b) = (left + x, top + y, left + x + width, top + y + height);
    page.area.draw(&Rectangle::new([(l, t), (r, b)], WHITE.mix(0.8).filled()))?;
    let upper = [(l, t + 10), (l + 10, t), (r - 10, t), (r, t + 10)];
    let lower = [(r, b - 10), (r - 10, b), (l + 10, b), (l, b - 10), (l, t + 10)];
    let grey = RGBColor(204, 204, 204).mix(0.8).stroke_width(7);
    page.area.draw(&PathElement::new([&upper[..], &lower].concat(), grey))?;
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::Coordinate(x, y)).margin(MARGIN).legend_area_size(SAMPLE);
    Ok(labels.label_font(page.text.clone()).draw()?)
}
