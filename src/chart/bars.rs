//! A bar for each name.

use plotters::prelude::*;

use super::Error;
use super::axes::{SIZE, axes};
use super::axis::Axis;
use super::page::{self, Page};
use super::style::TAB10;

/// Half the height of a bar, of the room that it has.
const HALF: f64 = 0.3;

/// Horizontal bars, the first at the top.
///
/// ```
/// use islp_mnist::chart::Bars;
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
    /// The x axis' name, and name and length of each bar, at least one, all finite.
    pub fn new(x_name: &str, bars: Vec<(String, f64)>) -> Self {
        Self { size: SIZE, x_name: x_name.to_owned(), bars }
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
        let x_axis = Axis::new(self.bars.iter().map(|bar| bar.1).chain([0.0]));
        // From the bottom to the top.
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
