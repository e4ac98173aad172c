//! A pair of axes where matplotlib has it on a figure.

use std::ops::Range;

use plotters::chart::LabelAreaPosition::{Bottom, Left};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Error;
use super::axis::Axis;
use super::page::{FINE, Page, text_width};

/// Width and height in pixels: `figsize=(6, 6)` at 100 dpi.
pub const SIZE: (usize, usize) = (600, 600);

/// The pixel columns and rows of the axes' frame.
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Frame {
    /// matplotlib's: 0.125, 0.9, 1 - 0.88 and 1 - 0.11 of the figure, but with room for the labels below.
    fn of((width, height): (usize, usize)) -> Self {
        let part = |length: usize, part: f64| (length as f64 * part).round() as i32;
        Self {
            left: part(width, 0.125),
            right: part(width, 0.9),
            top: part(height, 0.12),
            bottom: part(height, 0.89).min(height as i32 - BELOW - 2),
        }
    }
}

/// From the frame to the lower edge of the axis' name, in pixels.
const BELOW: i32 = 42;

/// matplotlib's 3.5 pt; plotters has the labels twice as far away, as matplotlib does.
const TICK: i32 = 24;

/// What draws in a pair of axes.
pub type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;

/// Frame, ticks, labels and names of the axes.
pub fn axes<'a, DB: DrawingBackend>(
    page: &Page<DB>,
    size: (usize, usize),
    (x, x_name): (Axis, &str),
    (y, y_name): (Axis, &str),
) -> Result<Chart<'a, DB>, Error> {
    let Frame { left, right, top, bottom } = Frame::of(size);
    let mut widest = 0;
    for label in y.labels() {
        widest = widest.max(text_width(&label)?);
    }
    // From the left edge of the axis' name to the frame, which moves if that is not to be pushed off the page.
    let beside = widest + 29 * FINE;
    let left = (left * FINE).max(beside + 2 * FINE);
    let below = BELOW * FINE;
    let middle = FINE / 2;
    let factors = [
        (x.factor(), (right * FINE, (bottom + 38) * FINE), HPos::Right),
        (y.factor(), (left, (top - 5) * FINE), HPos::Left),
    ];
    let (Range { start: x0, end: x1 }, Range { start: y0, end: y1 }) = (x.range(), y.range());

    // plotters draws the left and the lower axis a unit outside the area it plots in.
    let (width, height) = page.area.dim_in_pixel();
    let mut chart = ChartBuilder::on(&page.area)
        .margin_left(left + middle + 1 - beside)
        .margin_right(width as i32 - right * FINE - middle - 1)
        .margin_top(top * FINE + middle)
        .margin_bottom(height as i32 - bottom * FINE - middle - below)
        .y_label_area_size(beside)
        .x_label_area_size(below)
        .build_cartesian_2d(x, y)?;
    // The offsets have the labels where matplotlib's hinting leaves them.
    let mut mesh = chart.configure_mesh();
    mesh.disable_mesh().axis_style(page.line).label_style(page.text.clone());
    mesh.set_tick_mark_size(Bottom, TICK).set_tick_mark_size(Left, TICK).x_label_offset(4).y_label_offset(4);
    mesh.x_desc(x_name).y_desc(y_name).draw()?;
    let above_and_right = [[(x0, y1), (x1, y1)], [(x1, y1), (x1, y0)]];
    chart.draw_series(above_and_right.map(|ends| PathElement::new(ends, page.line)))?;
    for (factor, at, align) in factors {
        let style = page.text.pos(Pos::new(align, VPos::Bottom));
        factor.map_or(Ok(()), |factor| page.area.draw_text(&factor, &style, at))?;
    }
    Ok(chart)
}
