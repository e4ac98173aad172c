//! Limits and ticks of an axis, as matplotlib finds them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::page::FINE;

/// An axis that shows all values given to it.
pub struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    decimals: usize,
    /// The labels are to be multiplied by this power of ten.
    power: i32,
}

impl Axis {
    /// With matplotlib's margin around the values, all finite, and its ticks.
    pub fn new(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = limits(values);
        let (ticks, step_decimals) = ticks(low, high);
        let largest = ticks.iter().fold(0.0, |largest: f64, tick| largest.max(tick.abs()));
        let power = largest.log10().floor() as i32;
        // As ScalarFormatter has it; from 1e5 on rather than 1e6, since labels of six digits can touch.
        let power = if largest > 0.0 && !(-4..5).contains(&power) { power } else { 0 };
        let decimals = usize::try_from(step_decimals + power).unwrap_or(0);
        Self { low, high, ticks, decimals, power }
    }

    /// As text, in the order of the axis.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        self.ticks.iter().map(|tick| self.format_ext(tick))
    }

    /// What the labels are to be multiplied by, such as "1e6"; none for 1.
    pub fn factor(&self) -> Option<String> {
        (self.power != 0).then(|| format!("1e{}", self.power).replace('-', MINUS))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// To the middle of a whole pixel, rounded as matplotlib does.
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (from, to) = (f64::from(limit.0.div_euclid(FINE)), f64::from(limit.1.div_euclid(FINE)));
        let pixel = from + (to - from) * ((value - self.low) / (self.high - self.low));
        pixel.round() as i32 * FINE + FINE / 2
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        format!("{:.*}", self.decimals, tick / 10f64.powi(self.power)).replace('-', MINUS)
    }
}

const MINUS: &str = "\u{2212}";

/// The ends of an axis: the data's with a margin of 5 %, a single value first widened as by
/// `matplotlib.transforms.nonsingular`.
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

/// `MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10])`: the multiples, between the limits, of the smallest such step that
/// gives at most nine intervals; and how many decimals the step needs.
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
