//! Limits and ticks of an axis, as matplotlib finds them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::page::FINE;

/// An axis that shows all values given to it.
pub struct Axis {
    /// The ends; on a log axis their logarithms.
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<f64>,
    labels: Labels,
}

enum Labels {
    /// The labels are to be multiplied by this power of ten.
    Decimal { decimals: usize, power: i32 },
    /// On a log axis: 10⁻³, or numbers as they are where there are few powers of ten.
    Log { powers: bool },
    /// At 0, 1, 2 and so on.
    Names(Vec<String>),
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
        Self { low, high, is_log: false, ticks, labels: Labels::Decimal { decimals, power } }
    }

    /// The same on a logarithmic scale, for values above 0.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        /// So few labels are not enough to read an axis by.
        const FEW: usize = 3;
        const MAX_TICKS: usize = 9;
        let (low, high) = limits(values.map(f64::log10));
        let whole: Vec<i32> = (low.ceil() as i32..=high.floor() as i32).collect();
        if whole.len() >= FEW {
            let every = whole.len().div_ceil(MAX_TICKS);
            let ticks = whole.into_iter().step_by(every).map(|power| 10f64.powi(power)).collect();
            return Self { low, high, is_log: true, ticks, labels: Labels::Log { powers: true } };
        }
        let decades = low.floor() as i32..=high.floor() as i32;
        // Divided for the small ones, as 1e-1 has no exact value to be multiplied by.
        let scaled = |digit: f64, power: i32| {
            if power < 0 { digit / 10f64.powi(-power) } else { digit * 10f64.powi(power) }
        };
        let ticks = decades.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| scaled(digit, power)));
        let within = |tick: &f64| (low..=high).contains(&tick.log10());
        let ticks: Vec<f64> = ticks.filter(within).collect();
        if ticks.len() >= FEW {
            return Self { low, high, is_log: true, ticks, labels: Labels::Log { powers: false } };
        }
        let linear = Self::new([10f64.powf(low), 10f64.powf(high)].into_iter());
        let ticks = linear.ticks.into_iter().filter(within).collect();
        Self { low, high, is_log: true, ticks, labels: linear.labels }
    }

    /// An axis of names, at 0, 1, 2 and so on.
    pub fn names(names: Vec<String>) -> Self {
        let ticks: Vec<f64> = (0..names.len()).map(|place| place as f64).collect();
        let high = names.len() as f64 - 0.5;
        Self { low: -0.5, high, is_log: false, ticks, labels: Labels::Names(names) }
    }

    /// As text, in the order of the axis.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        self.ticks.iter().map(|tick| self.format_ext(tick))
    }

    /// What the labels are to be multiplied by, such as "1e6"; none for 1.
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

    /// To the middle of a whole pixel, rounded as matplotlib does.
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
