//! A pair of axes as matplotlib draws it: limits, ticks and labels, the frame, and the legend inside.

use std::iter::empty;
use std::ops::Range;

use plotters::chart::LabelAreaPosition::{Bottom, Left};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters_backend::BackendCoord;

use super::Error;
use super::page::{Page, text_width};
use super::style::{FINE, Mark, Marker};

/// A pair of axes to draw in.
pub type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;

/// Draws frame, ticks, tick labels and names.
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
    // From the left edge of the axis' name to the frame. The frame moves if the name would leave the page.
    let beside = widest + 29 * FINE;
    let left = (left * FINE).max(beside + 2 * FINE);
    let below = BELOW * FINE;
    let middle = FINE / 2;
    let factors = [
        (x.factor(), (right * FINE, (bottom + 38) * FINE), HPos::Right),
        (y.factor(), (left, (top - 5) * FINE), HPos::Left),
    ];
    let (Range { start: x0, end: x1 }, Range { start: y0, end: y1 }) = (x.range(), y.range());

    // plotters draws the left and the lower axis one unit outside its plotting area.
    let (width, height) = page.area.dim_in_pixel();
    let mut chart = ChartBuilder::on(&page.area)
        .margin_left(left + middle + 1 - beside)
        .margin_right(width as i32 - right * FINE - middle - 1)
        .margin_top(top * FINE + middle)
        .margin_bottom(height as i32 - bottom * FINE - middle - below)
        .y_label_area_size(beside)
        .x_label_area_size(below)
        .build_cartesian_2d(x, y)?;
    // The offsets put the labels where matplotlib's hinting does.
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

/// The pixel columns and rows of the axes' frame.
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Frame {
    /// matplotlib's 0.125, 0.9, 1 - 0.88 and 1 - 0.11 of the figure, with room for the labels below.
    fn of((width, height): (usize, usize)) -> Self {
        let at = |length: usize, fraction: f64| (length as f64 * fraction).round() as i32;
        Self {
            left: at(width, 0.125),
            right: at(width, 0.9),
            top: at(height, 0.12),
            bottom: at(height, 0.89).min(height as i32 - BELOW - 2),
        }
    }
}

/// Pixels from the frame to the lower edge of the x axis' name.
const BELOW: i32 = 42;

/// Units of a tick's length, matplotlib's 3.5 pt. Like matplotlib, plotters puts the labels twice as far away.
const TICK: i32 = 24;

/// A line of the legend: a sample and its name.
pub struct Entry {
    pub text: String,
    pub color: RGBColor,
    /// None if only the color has a meaning.
    pub marker: Option<Marker>,
}

impl Entry {
    pub fn new(text: &str, color: RGBColor, marker: Option<Marker>) -> Self {
        Self { text: text.to_owned(), color, marker }
    }
}

/// Units between the legend's box and its contents.
const MARGIN: i32 = 32;
/// Units of a sample and the gap to its text.
const SAMPLE: i32 = 191;

/// Draws the legend at the lower right, as in the notebook, unless it hides fewer `marks` (in the page's units) in another
/// corner.
pub fn legend<'a, DB: DrawingBackend + 'a>(
    chart: &mut Chart<'a, DB>,
    page: &Page<DB>,
    entries: Vec<Entry>,
    marks: &[BackendCoord],
) -> Result<(), Error> {
    let (left, top) = chart.plotting_area().get_base_pixel();
    let mut text = MultiLineText::<_, String>::new((0, 0), &page.text);
    let mut width = 0;
    for Entry { text: name, color, marker } in entries {
        text.push_line(name.as_str());
        width = width.max(text_width(&name)? + SAMPLE + 2 * MARGIN);
        let series = chart.draw_series(empty::<Circle<(f64, f64), i32>>())?;
        series.label(name).legend(move |(x, y)| {
            // Without a marker a line needs more ink to show its color.
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

    // plotters' own box has no round corners, and in an SVG no border.
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

/// Returns the middle of the pixel that a unit belongs to; matplotlib snaps marks and ticks to pixels.
fn whole_pixel(unit: i32) -> i32 {
    unit.div_euclid(FINE) * FINE + FINE / 2
}

/// Limits and ticks of an axis, as matplotlib finds them.
pub struct Axis {
    /// The ends, on a log axis as logarithms.
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<f64>,
    labels: Labels,
}

enum Labels {
    /// In units of `10^power`.
    Decimal { decimals: usize, power: i32 },
    /// On a log axis: 10⁻³, or plain numbers where few powers of ten are in range.
    Log { powers: bool },
    /// At 0, 1, 2, …
    Names(Vec<String>),
}

impl Axis {
    /// Fits finite values, with matplotlib's margin and ticks.
    pub fn new(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = limits(values);
        let (ticks, step_decimals) = ticks(low, high);
        let largest = ticks.iter().fold(0.0, |largest: f64, tick| largest.max(tick.abs()));
        let power = largest.log10().floor() as i32;
        // ScalarFormatter's, but from 1e5 rather than 1e6, since labels of six digits can touch.
        let power = if largest > 0.0 && !(-4..5).contains(&power) { power } else { 0 };
        let decimals = usize::try_from(step_decimals + power).unwrap_or(0);
        Self { low, high, is_log: false, ticks, labels: Labels::Decimal { decimals, power } }
    }

    /// Fits values above 0 on a logarithmic scale.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        /// An axis with fewer labels is hard to read.
        const MIN_TICKS: usize = 3;
        const MAX_TICKS: usize = 9;
        let (low, high) = limits(values.map(f64::log10));
        let whole: Vec<i32> = (low.ceil() as i32..=high.floor() as i32).collect();
        if whole.len() >= MIN_TICKS {
            let every = whole.len().div_ceil(MAX_TICKS);
            let ticks = whole.into_iter().step_by(every).map(|power| 10f64.powi(power)).collect();
            return Self { low, high, is_log: true, ticks, labels: Labels::Log { powers: true } };
        }
        let decades = low.floor() as i32..=high.floor() as i32;
        // Divides for small powers, since 1e-1 is not exact.
        let scaled = |digit: f64, power: i32| {
            if power < 0 { digit / 10f64.powi(-power) } else { digit * 10f64.powi(power) }
        };
        let ticks = decades.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| scaled(digit, power)));
        let within = |tick: &f64| (low..=high).contains(&tick.log10());
        let ticks: Vec<f64> = ticks.filter(within).collect();
        if ticks.len() >= MIN_TICKS {
            return Self { low, high, is_log: true, ticks, labels: Labels::Log { powers: false } };
        }
        let linear = Self::new([10f64.powf(low), 10f64.powf(high)].into_iter());
        let ticks = linear.ticks.into_iter().filter(within).collect();
        Self { low, high, is_log: true, ticks, labels: linear.labels }
    }

    /// An axis of names, at 0, 1, 2, …
    pub fn names(names: Vec<String>) -> Self {
        let ticks: Vec<f64> = (0..names.len()).map(|place| place as f64).collect();
        let high = names.len() as f64 - 0.5;
        Self { low: -0.5, high, is_log: false, ticks, labels: Labels::Names(names) }
    }

    /// The tick labels, in the order of the axis.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        self.ticks.iter().map(|tick| self.format_ext(tick))
    }

    /// The factor of the labels, such as "1e6"; none if it is 1.
    pub fn factor(&self) -> Option<String> {
        match self.labels {
            Labels::Decimal { power, .. } if power != 0 => Some(format!("1e{power}").replace('-', MINUS)),
            _ => None,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// Returns the middle of a whole pixel, rounded as matplotlib does.
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (from, to) = (f64::from(limit.0.div_euclid(FINE)), f64::from(limit.1.div_euclid(FINE)));
        let value = if self.is_log { value.log10() } else { *value };
        let pixel = from + (to - from) * ((value - self.low) / (self.high - self.low));
        pixel.round() as i32 * FINE + FINE / 2
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        if self.is_log { 10f64.powf(self.low)..10f64.powf(self.high) } else { self.low..self.high }
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        match &self.labels {
            Labels::Decimal { decimals, power } => {
                format!("{:.*}", decimals, tick / 10f64.powi(*power)).replace('-', MINUS)
            }
            Labels::Log { powers: true } => format!("10{}", superscript(tick.log10().round() as i32)),
            Labels::Log { powers: false } => tick.to_string(),
            Labels::Names(names) => names.get(*tick as usize).cloned().unwrap_or_default(),
        }
    }
}

fn superscript(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised = |c: char| c.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize]);
    power.to_string().chars().map(raised).collect()
}

const MINUS: &str = "\u{2212}";

/// The ends of an axis: the data's with a margin of 5 %; `matplotlib.transforms.nonsingular` first widens a single value.
fn limits(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut low, mut high) = values.fold(ends, |(low, high), v| (low.min(v), high.max(v)));
    let largest = low.abs().max(high.abs());
    if largest < 1e-287 {
        (low, high) = (-0.05, 0.05);
    } else if high - low <= 1e-15 * largest {
        (low, high) = (low - 0.05 * low.abs(), high + 0.05 * high.abs());
    }
    let margin = 0.05 * (high - low);
    (low - margin, high + margin)
}

/// `MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10])`: the multiples, within the limits, of the smallest step that gives at
/// most nine intervals; and the number of decimals that the step needs.
fn ticks(low: f64, high: f64) -> (Vec<f64>, i32) {
    let least = (high - low) / 9.0;
    let exponent = least.log10().floor() as i32;
    let scale = 10f64.powi(exponent);
    let steps = [(1.0, 0), (2.0, 0), (2.5, 1), (5.0, 0), (10.0, -1)];
    let fits = steps.into_iter().find(|step| step.0 * scale >= least);
    let (factor, decimals) = fits.unwrap_or(steps[4]);
    let step = factor * scale;
    let multiples = (low / step).ceil() as i64..=(high / step).floor() as i64;
    (multiples.map(|n| n as f64 * step).collect(), decimals - exponent)
}
