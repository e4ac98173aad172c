//! What numbers from many seeds say, by the definitions of NumPy, SciPy and Bouthillier et al. 2021, "Accounting for
//! variance in machine learning benchmarks".

use crate::torch::Generator;

/// How often the bootstrap draws a sample anew.
const RESAMPLES: usize = 10_000;
/// The ends of what 95 % of those lie between.
const ENDS: [f64; 2] = [0.025, 0.975];

/// A number, and between which ends it lies with 95 % confidence.
///
/// ```
/// use islp_mnist::study::{Interval, bootstrap_mean};
///
/// let Interval { value, low, high } = bootstrap_mean(&[0.96, 0.97, 0.965]);
/// assert!(0.959 < low && low < value && value < high && high < 0.971);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Of the sample itself.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The mean, `np.mean(values)` up to the order of the sum; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `np.std(values, ddof=1)`; NaN of fewer than two.
pub fn standard_deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares = values.iter().map(|value| (value - center).powi(2)).sum::<f64>();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// `np.quantile(values, q)`, linear between two values; NaN of nothing.
///
/// ```
/// assert_eq!(islp_mnist::study::quantile(&[3.0, 1.0, 2.0], 0.25), 1.5);
/// ```
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q * last as f64;
    let below = place.floor() as usize;
    let (low, high, part) = (sorted[below], sorted[(below + 1).min(last)], place - below as f64);
    // As NumPy's `_lerp`, which is exact at both ends.
    if part >= 0.5 { high - (high - low) * (1.0 - part) } else { low + (high - low) * part }
}

/// The standard error of an accuracy that so many images leave in any case: that of a binomial distribution, divided by
/// their number.
///
/// ```
/// assert!((islp_mnist::study::binomial_error(0.966, 10_000) - 0.00181).abs() < 1e-5);
/// ```
pub fn binomial_error(accuracy: f64, images: usize) -> f64 {
    (accuracy * (1.0 - accuracy) / images as f64).sqrt()
}

/// The mean with its 95 % interval by the percentile bootstrap of 10,000 samples;
/// `scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000)`. The samples are drawn by a
/// generator with seed 0, so the same values have the same interval.
pub fn bootstrap_mean(values: &[f64]) -> Interval {
    let n = values.len();
    if n == 0 {
        return Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    let generator = Generator::new(0);
    let mean_of_sample = || {
        let sample = (0..n).map(|_| values[(generator.random() % n as u64) as usize]);
        sample.sum::<f64>() / n as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean_of_sample()).collect();
    means.sort_by(f64::total_cmp);
    let [low, high] = ENDS.map(|q| quantile_of_sorted(&means, q));
    Interval { value: mean(values), low, high }
}

/// How probable it is that the first model beats the second with a seed that both have, P(A > B), with its 95 % interval by
/// the percentile bootstrap. Pairs of one seed each. A draw counts half, other than in Bouthillier et al.
///
/// ```
/// let pairs = [(0.97, 0.92), (0.96, 0.92), (0.91, 0.92), (0.92, 0.92)];
/// assert_eq!(islp_mnist::study::outperforms(&pairs).value, 0.625);
/// ```
pub fn outperforms(pairs: &[(f64, f64)]) -> Interval {
    let wins: Vec<f64> = pairs
        .iter()
        .map(|(a, b)| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        })
        .collect();
    bootstrap_mean(&wins)
}
