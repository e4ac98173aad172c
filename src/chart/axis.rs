//! A pair of axes as matplotlib draws it: limits, ticks and labels, and the frame.

use std::ops::Range;

use plotters::chart::LabelAreaPosition::{Bottom, Left};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters_backend::BackendCoord;

use super::legend::{GAP, Legend};
use super::page::{Page, text_width};
use super::style::FINE;
use super::{Error, Points};

/// A pair of axes to draw in.
pub type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;

/// What axes are drawn for.
pub struct Axes<'a> {
    /// The page's width and height in pixels.
    pub size: (usize, usize),
    pub x: (Axis, &'a str),
    pub y: (Axis, &'a str),
    /// The legend must not hide these paths: single points, or points that are joined by a line.
    pub paths: Vec<Points>,
}

impl Axes<'_> {
    /// Draws frame, ticks, tick labels and names. Returns the chart to draw in, and the place for the legend on the page.
    pub fn draw<'a, DB: DrawingBackend>(
        self,
        page: &Page<DB>,
        legend: Option<&Legend>,
    ) -> Result<(Chart<'a, DB>, BackendCoord), Error> {
        let beside = self.beside()?;
        let mut chart = self.build(page, beside, 0)?;
        let mut at = (0, 0);
        if let Some(legend) = legend {
            let (left, top) = chart.plotting_area().get_base_pixel();
            let within = |point| {
                let (x, y) = chart.backend_coord(point);
                (x - left, y - top)
            };
            let paths: Vec<Vec<_>> =
                self.paths.iter().map(|path| path.iter().map(within).collect()).collect();
            let (width, height) = chart.plotting_area().dim_in_pixel();
            match legend.place((width as i32, height as i32), &paths) {
                Some((x, y)) => at = (left + x, top + y),
                None => {
                    chart = self.build(page, beside, legend.beside())?;
                    at = (left + chart.plotting_area().dim_in_pixel().0 as i32 + GAP, top);
                }
            }
        }
        self.draw_frame(page, beside, &mut chart)?;
        Ok((chart, at))
    }

    /// Lays out the axes, with `beside` units left of the frame and room for a legend on the right.
    fn build<'a, DB: DrawingBackend>(
        &self,
        page: &Page<DB>,
        beside: i32,
        room: i32,
    ) -> Result<Chart<'a, DB>, Error> {
        let frame = Frame::of(self.size);
        let (left, right) = (self.left(beside), frame.right * FINE - room);
        let below = BELOW * FINE;
        let middle = FINE / 2;
        // plotters draws the left and the lower axis one unit outside its plotting area.
        let (width, height) = page.area.dim_in_pixel();
        let mut builder = ChartBuilder::on(&page.area);
        builder
            .margin_left(left + middle + 1 - beside)
            .margin_right(width as i32 - right - middle - 1)
            .margin_top(frame.top * FINE + middle)
            .margin_bottom(height as i32 - frame.bottom * FINE - middle - below)
            .y_label_area_size(beside)
            .x_label_area_size(below);
        Ok(builder.build_cartesian_2d(self.x.0.clone().fitting(right - left)?, self.y.0.clone())?)
    }

    /// Units from the left edge of the y axis' name to the frame.
    fn beside(&self) -> Result<i32, Error> {
        let mut widest = 0;
        for label in self.y.0.labels() {
            widest = widest.max(text_width(&label)?);
        }
        Ok(widest + 29 * FINE)
    }

    /// Units from the page's left edge to the frame, which moves if the name of the y axis would leave the page.
    fn left(&self, beside: i32) -> i32 {
        (Frame::of(self.size).left * FINE).max(beside + 2 * FINE)
    }

    fn draw_frame<DB: DrawingBackend>(
        &self,
        page: &Page<DB>,
        beside: i32,
        chart: &mut Chart<DB>,
    ) -> Result<(), Error> {
        let Frame { right, top, bottom, .. } = Frame::of(self.size);
        let (x, y) = (chart.x_range(), chart.y_range());
        let (Range { start: x0, end: x1 }, Range { start: y0, end: y1 }) = (x, y);
        // The offsets put the labels where matplotlib's hinting does.
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().axis_style(page.line).label_style(page.text.clone());
        mesh.set_tick_mark_size(Bottom, TICK).set_tick_mark_size(Left, TICK);
        mesh.x_label_offset(4).y_label_offset(4).x_desc(self.x.1).y_desc(self.y.1).draw()?;
        let above_and_right = [[(x0, y1), (x1, y1)], [(x1, y1), (x1, y0)]];
        chart.draw_series(above_and_right.map(|ends| PathElement::new(ends, page.line)))?;
        let factors = [
            (self.x.0.factor(), (right * FINE, (bottom + 38) * FINE), HPos::Right),
            (self.y.0.factor(), (self.left(beside), (top - 5) * FINE), HPos::Left),
        ];
        for (factor, at, align) in factors {
            let style = page.text.pos(Pos::new(align, VPos::Bottom));
            factor.map_or(Ok(()), |factor| page.area.draw_text(&factor, &style, at))?;
        }
        Ok(())
    }
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

/// Limits and ticks of an axis, as matplotlib finds them.
#[derive(Clone)]
pub struct Axis {
    /// The ends, on a log axis as logarithms.
    low: f64,
    high: f64,
    is_log: bool,
    /// True if the ticks must be whole numbers.
    is_whole: bool,
    ticks: Vec<f64>,
    labels: Labels,
}

#[derive(Clone)]
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
        Self::between(low, high, false, MAX_INTERVALS)
    }

    /// The same for what can be counted, such as epochs: without ticks between whole numbers if all values are whole.
    pub fn of_counts(values: impl Iterator<Item = f64>) -> Self {
        let mut is_whole = true;
        let (low, high) = limits(values.inspect(|value| is_whole &= value.fract() == 0.0));
        Self::between(low, high, is_whole, MAX_INTERVALS)
    }

    /// An axis with these ends and at most as many intervals.
    fn between(low: f64, high: f64, is_whole: bool, most: usize) -> Self {
        let (ticks, step_decimals) = ticks(low, high, is_whole, most);
        let largest = ticks.iter().fold(0.0, |largest: f64, tick| largest.max(tick.abs()));
        let power = largest.log10().floor() as i32;
        // ScalarFormatter's, but from 1e5 rather than 1e6, since labels of six digits can touch.
        let power = if largest > 0.0 && !(-4..5).contains(&power) { power } else { 0 };
        let decimals = usize::try_from(step_decimals + power).unwrap_or(0);
        Self { low, high, is_log: false, is_whole, ticks, labels: Labels::Decimal { decimals, power } }
    }

    /// With fewer ticks, if their labels would not fit side by side into this many units.
    fn fitting(self, room: i32) -> Result<Self, Error> {
        /// Units between two labels.
        const BETWEEN: i32 = 8 * FINE;
        if self.is_log || matches!(self.labels, Labels::Names(_)) {
            return Ok(self);
        }
        for most in (1..=MAX_INTERVALS).rev() {
            let axis = Self::between(self.low, self.high, self.is_whole, most);
            let mut width = 0;
            for label in axis.labels() {
                width = width.max(text_width(&label)? + BETWEEN);
            }
            let step = match axis.ticks[..] {
                [first, second, ..] => f64::from(room) * (second - first) / (self.high - self.low),
                _ => f64::from(room),
            };
            if f64::from(width) <= step {
                return Ok(axis);
            }
        }
        Ok(self)
    }

    /// Fits values above 0 on a logarithmic scale.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        /// An axis with fewer labels is hard to read.
        const MIN_TICKS: usize = 3;
        const MAX_TICKS: usize = 9;
        let (low, high) = limits(values.map(f64::log10));
        let whole: Vec<i32> = (low.ceil() as i32..=high.floor() as i32).collect();
        let axis = |ticks: Vec<f64>, labels| Self { low, high, is_log: true, is_whole: false, ticks, labels };
        if whole.len() >= MIN_TICKS {
            let every = whole.len().div_ceil(MAX_TICKS);
            let ticks = whole.into_iter().step_by(every).map(|power| 10f64.powi(power)).collect();
            return axis(ticks, Labels::Log { powers: true });
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
            return axis(ticks, Labels::Log { powers: false });
        }
        let linear = Self::new([10f64.powf(low), 10f64.powf(high)].into_iter());
        axis(linear.ticks.into_iter().filter(within).collect(), linear.labels)
    }

    /// An axis of names, at 0, 1, 2, …
    pub fn names(names: Vec<String>) -> Self {
        let ticks: Vec<f64> = (0..names.len()).map(|place| place as f64).collect();
        let high = names.len() as f64 - 0.5;
        Self { low: -0.5, high, is_log: false, is_whole: true, ticks, labels: Labels::Names(names) }
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

/// The most intervals between ticks.
const MAX_INTERVALS: usize = 9;

/// `MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=is_whole)`: the multiples, within the limits, of the smallest
/// step that gives no more intervals; and the number of decimals that the step needs.
fn ticks(low: f64, high: f64, is_whole: bool, most: usize) -> (Vec<f64>, i32) {
    let least = (high - low) / most as f64;
    let least = if is_whole { least.max(1.0) } else { least };
    let exponent = least.log10().floor() as i32;
    let scale = 10f64.powi(exponent);
    let steps = [(1.0, 0), (2.0, 0), (2.5, 1), (5.0, 0), (10.0, -1)];
    let is_usable = |step: f64| step >= least && (!is_whole || step.fract() == 0.0);
    let fits = steps.into_iter().find(|step| is_usable(step.0 * scale));
    let (factor, decimals) = fits.unwrap_or(steps[4]);
    let step = factor * scale;
    let multiples = (low / step).ceil() as i64..=(high / step).floor() as i64;
    (multiples.map(|n| n as f64 * step).collect(), decimals - exponent)
}
