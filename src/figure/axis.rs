//! Limits and ticks of an axis, as matplotlib finds them.

/// An axis that shows all values given to it.
pub struct Axis {
    low: f64,
    high: f64,
    /// The ticks' values and labels.
    pub ticks: Vec<(f64, String)>,
    /// The power of ten that the labels are to be multiplied by, such as "1e6"; none for 1.
    pub factor: Option<String>,
}

impl Axis {
    pub fn new(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = limits(values);
        let (ticks, factor) = ticks(low, high);
        Self { low, high, ticks, factor }
    }

    /// 0 at the lower end of the axis, 1 at the upper.
    pub fn part(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

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

/// `MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10])`: the multiples, between the limits, of the smallest such
/// step that gives at most nine intervals; labelled with the decimals the step needs.
///
/// Very large and very small numbers have a power of ten in common, as with `ScalarFormatter`; from 1e5 on rather
/// than 1e6, since labels of six digits can touch.
fn ticks(low: f64, high: f64) -> (Vec<(f64, String)>, Option<String>) {
    let least = (high - low) / 9.0;
    let exponent = least.log10().floor() as i32;
    let scale = 10f64.powi(exponent);
    let steps = [(1.0, 0), (2.0, 0), (2.5, 1), (5.0, 0), (10.0, -1)];
    let fits = steps.into_iter().find(|step| step.0 * scale >= least);
    let (factor, decimals) = fits.unwrap_or(steps[4]);
    let step = factor * scale;
    let multiples = (low / step).ceil() as i64..=(high / step).floor() as i64;
    let ticks: Vec<f64> = multiples.map(|n| n as f64 * step).collect();

    let largest = ticks.iter().fold(0.0, |largest: f64, tick| largest.max(tick.abs()));
    let power = largest.log10().floor() as i32;
    let power = if largest > 0.0 && !(-4..5).contains(&power) { power } else { 0 };
    let decimals = i64::from(decimals) - i64::from(exponent) + i64::from(power);
    let decimals = usize::try_from(decimals).unwrap_or(0);
    let label = |tick: f64| format!("{:.decimals$}", tick / 10f64.powi(power)).replace('-', "\u{2212}");
    let labelled = ticks.into_iter().map(|tick| (tick, label(tick))).collect();
    (labelled, (power != 0).then(|| format!("1e{power}").replace('-', "\u{2212}")))
}
