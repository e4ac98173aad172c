//! The legend: a sample and a name for each series, at a place where it hides nothing.

use plotters::prelude::*;
use plotters_backend::BackendCoord;

use super::Error;
use super::page::{Page, text_width};
use super::style::{FINE, Mark, Marker, TINT};

/// A run's name in the legend, which shortens long ones.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Name, Picture, Source};
///
/// let name = Name::Given("the first of many runs, with RMSprop".into());
/// let source = Source { name, metrics_csv: "output/MNIST/version_0/metrics.csv".into() };
/// let svg = Figure::new(Metric::Loss, &[source])?.to_svg()?;
/// assert!(svg.contains("the first of many runs… Training"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Name {
    /// A name that a person gave; shortening keeps its beginning: "long na…". May be empty.
    Given(String),
    /// A path; shortening keeps its end: "…/version_0".
    Path(String),
}

/// A line of the legend: a sample and its name.
pub struct Entry {
    pub text: String,
    pub color: RGBColor,
    pub sample: Sample,
}

/// What an entry shows of its series.
#[derive(Clone, Copy)]
pub enum Sample {
    Line,
    Marker(Marker),
    /// A marker on a line, as matplotlib shows the notebook's series.
    MarkerOnLine(Marker),
    /// The area between two lines.
    Band,
}

impl Entry {
    pub fn new(text: &str, color: RGBColor, sample: Sample) -> Self {
        Self { text: text.to_owned(), color, sample }
    }
}

/// Most units of a run's name, over a third of the axes' width.
pub const ROOM: i32 = 170 * FINE;

/// Units between the legend's box and its contents.
const MARGIN: i32 = 32;
/// Units of a sample and the gap to its text.
const SAMPLE: i32 = 191;
/// Units between the legend's box and the axes or a mark.
pub const GAP: i32 = 7 * FINE;
/// Units between two points of a line that count as hidden.
const STEP: i32 = 5 * FINE;

/// The entries with the size of their box, in the page's units.
pub struct Legend {
    entries: Vec<Entry>,
    width: i32,
    height: i32,
}

impl Legend {
    /// Measures the entries; none if there are none.
    pub fn new<DB: DrawingBackend>(page: &Page<DB>, entries: Vec<Entry>) -> Result<Option<Self>, Error> {
        let mut text = MultiLineText::<_, String>::new((0, 0), &page.text);
        let mut width = 0;
        for entry in &entries {
            text.push_line(entry.text.as_str());
            width = width.max(text_width(&entry.text)? + SAMPLE + 2 * MARGIN);
        }
        let height = text.estimate_dimension().map_err(Error::drawing)?.1 + 2 * MARGIN;
        Ok((!entries.is_empty()).then_some(Self { entries, width, height }))
    }

    /// The width that the legend takes beside the axes.
    pub fn beside(&self) -> i32 {
        self.width + GAP
    }

    /// Finds a place in a plotting area of this size where the legend hides nothing that is drawn along these paths: at the
    /// lower right, as in the notebook, or at another of the places that matplotlib tries.
    pub fn place(&self, (across, down): (i32, i32), paths: &[Vec<BackendCoord>]) -> Option<BackendCoord> {
        let (left, right, top, bottom) = (GAP, across - GAP - self.width, GAP, down - GAP - self.height);
        let (center, middle) = ((left + right) / 2, (top + bottom) / 2);
        let corners = [(right, bottom), (right, top), (left, top), (left, bottom)];
        let others = [(right, middle), (left, middle), (center, bottom), (center, top), (center, middle)];
        let drawn: Vec<BackendCoord> = paths.iter().flat_map(|path| points_along(path)).collect();
        let fits = |&(x, y): &BackendCoord| {
            let near = |at, from, length| (from - STEP..=from + length + STEP).contains(&at);
            let hides = |at: &BackendCoord| near(at.0, x, self.width) && near(at.1, y, self.height);
            x >= left && y >= top && !drawn.iter().any(hides)
        };
        corners.into_iter().chain(others).find(fits)
    }

    /// Draws the legend with its upper left corner at this place of the page.
    pub fn draw<DB: DrawingBackend>(self, page: &Page<DB>, (l, t): BackendCoord) -> Result<(), Error> {
        let (r, b) = (l + self.width, t + self.height);
        // plotters' own box has no round corners, in an SVG no border, and can't stand beside the axes.
        page.area.draw(&Rectangle::new([(l, t), (r, b)], WHITE.mix(0.8).filled()))?;
        let upper = [(l, t + 10), (l + 10, t), (r - 10, t), (r, t + 10)];
        let lower = [(r, b - 10), (r - 10, b), (l + 10, b), (l, b - 10), (l, t + 10)];
        let grey = RGBColor(204, 204, 204).mix(0.8).stroke_width(7);
        page.area.draw(&PathElement::new([&upper[..], &lower].concat(), grey))?;

        let mut text = MultiLineText::<_, &str>::new((l + MARGIN + SAMPLE, t + MARGIN), &page.text);
        self.entries.iter().for_each(|entry| text.push_line(entry.text.as_str()));
        page.area.draw(&text)?;
        let lines = text.compute_line_layout().map_err(Error::drawing)?;
        for (((_, top), (_, bottom)), Entry { color, sample, .. }) in lines.into_iter().zip(&self.entries) {
            let at = (whole_pixel(l + MARGIN + 66), whole_pixel((top + bottom) / 2 - 6));
            // Without a marker a line needs more ink to show its color.
            let (marker, line, opacity) = match *sample {
                Sample::Line => (None, (146, 31), 1.0),
                Sample::Marker(marker) => (Some(marker), (0, 0), 1.0),
                Sample::MarkerOnLine(marker) => (Some(marker), (146, 11), 1.0),
                Sample::Band => (None, (146, 55), TINT),
            };
            page.area.draw(&Mark { at, color: color.mix(opacity), marker, line })?;
        }
        Ok(())
    }
}

/// The points of a path, and points on the lines that join them.
fn points_along(path: &[BackendCoord]) -> impl Iterator<Item = BackendCoord> {
    let joined = path.windows(2).flat_map(|ends| {
        let [from, to] = [ends[0], ends[1]];
        let (right, down) = (to.0 - from.0, to.1 - from.1);
        let steps = right.abs().max(down.abs()) / STEP;
        (1..=steps).map(move |i| (from.0 + right * i / (steps + 1), from.1 + down * i / (steps + 1)))
    });
    path.iter().copied().chain(joined)
}

/// Returns the middle of the pixel that a unit belongs to; matplotlib snaps marks and ticks to pixels.
fn whole_pixel(unit: i32) -> i32 {
    unit.div_euclid(FINE) * FINE + FINE / 2
}

/// Shortens a name to this many units.
pub fn shortened(name: &Name, room: i32) -> String {
    let fits = |text: &String| text_width(text).is_ok_and(|width| width <= room);
    let (Name::Given(text) | Name::Path(text)) = name;
    let text = text.replace(char::is_control, "\u{fffd}");
    if fits(&text) {
        return text;
    }
    let places = text.char_indices().map(|(place, _)| place);
    let longest = match name {
        Name::Given(_) => places.map(|end| format!("{}…", text[..end].trim_end())).take_while(fits).last(),
        Name::Path(_) => places.rev().map(|start| format!("…{}", &text[start..])).take_while(fits).last(),
    };
    longest.unwrap_or_default()
}
