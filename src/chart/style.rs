//! matplotlib's colors, marks and sizes.

use std::iter::{Once, once};

use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters_backend::{BackendCoord, DrawingErrorKind};

/// Width and height in pixels: `figsize=(6, 6)` at 100 dpi.
pub const SIZE: (usize, usize) = (600, 600);

/// Units of a page per pixel; odd, so that a pixel has a middle unit.
pub const FINE: i32 = 5;

/// The opacity of a band and of a range.
pub const TINT: f64 = 0.25;

/// Most runs in a figure, one per color.
pub const MAX_RUNS: usize = 10;

/// The color cycle `tab10`.
pub const TAB10: [RGBColor; MAX_RUNS] = [
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

/// matplotlib's `o` and `+` at their default size: 6 pt, with an outline of 1 pt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Marker {
    Dot,
    Plus,
}

/// A marker at a point, over a short piece of line in the legend.
pub struct Mark<C> {
    pub at: C,
    pub color: RGBAColor,
    pub marker: Option<Marker>,
    /// Length and width of the piece of line, in the page's units; `(0, 0)` for none.
    pub line: BackendCoord,
}

impl<C> Mark<C> {
    pub fn new(at: C, color: RGBColor, marker: Marker) -> Self {
        Self { at, color: color.to_rgba(), marker: Some(marker), line: (0, 0) }
    }
}

impl<'a, C> PointCollection<'a, C> for &'a Mark<C> {
    type Point = &'a C;
    type IntoIter = Once<&'a C>;

    fn point_iter(self) -> Self::IntoIter {
        once(&self.at)
    }
}

/// The return type of a backend's methods.
pub type Drawn<DB> = Result<(), DrawingErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl<C, DB: DrawingBackend> Drawable<DB> for Mark<C> {
    fn draw<I: Iterator<Item = BackendCoord>>(&self, at: I, backend: &mut DB, _: (u32, u32)) -> Drawn<DB> {
        for (x, y) in at {
            // A filled rectangle, since plotters would round the width of a line.
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
