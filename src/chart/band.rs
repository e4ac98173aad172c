//! Bands: where the middle of many runs lies, and between which ends most of them.

use plotters::prelude::*;

use super::Error;
use super::axes::{SIZE, axes};
use super::axis::Axis;
use super::legend::{Line, legend};
use super::lines::draw_path;
use super::page::{self, FINE, Page};
use super::style::TAB10;

/// How much of its color a band has.
const TINT: f64 = 0.25;

/// A line in a band, for each name.
///
/// ```
/// use islp_mnist::chart::Bands;
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
    /// Without a band yet; the axes' names.
    pub fn new(x_name: &str, y_name: &str) -> Self {
        Self { size: SIZE, names: [x_name.to_owned(), y_name.to_owned()], bands: vec![] }
    }

    /// Adds a band: for each x, in their order, its lower end, the line and its upper end, all finite.
    pub fn add(&mut self, name: &str, points: Vec<(f64, [f64; 3])>) {
        let color = TAB10[self.bands.len() % TAB10.len()];
        self.bands.push(Band { name: name.to_owned(), color, points });
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
        let lines =
            self.bands.iter().map(|band| Line { text: band.name.clone(), color: band.color, marker: None });
        legend(&mut chart, page, lines.collect(), &taken)
    }
}
