//! What can be said of how often a model is right: intervals and tests, as statsmodels has them.

/// The fraction of `right` among `count` images with its 95 % Wilson interval: fraction, lower end, upper end, from 0 to
/// 1; none without images. `statsmodels.stats.proportion.proportion_confint(right, count, method="wilson")`.
///
/// ```
/// let [fraction, low, high] = islp_mnist::report::wilson(95, 100).unwrap();
/// assert_eq!(fraction, 0.95);
/// assert!((0.888..0.889).contains(&low) && (0.978..0.979).contains(&high));
/// ```
pub fn wilson(right: u64, count: u64) -> Option<[f64; 3]> {
    /// The normal distribution's upper 2.5 % begin here, `scipy.stats.norm.isf(0.025)`.
    const CRIT: f64 = 1.9599639845400545;
    let n = Some(count as f64).filter(|&n| n > 0.0)?;
    let fraction = right as f64 / n;
    let crit2 = CRIT * CRIT;
    let denominator = 1.0 + crit2 / n;
    let center = (fraction + crit2 / (2.0 * n)) / denominator;
    let spread = (fraction * (1.0 - fraction) / n + crit2 / (4.0 * (n * n))).sqrt();
    let distance = CRIT * spread / denominator;
    Some([fraction, (center - distance).clamp(0.0, 1.0), (center + distance).clamp(0.0, 1.0)])
}

/// McNemar's exact test: the probability, if both models were equally good, that of the images which only one of them has
/// right so many or more lie on one side. `statsmodels.stats.contingency_tables.mcnemar(table, exact=True).pvalue`, with
/// the table's two cells off its diagonal.
///
/// ```
/// assert_eq!(islp_mnist::report::mcnemar(0, 0), 1.0);
/// assert!((islp_mnist::report::mcnemar(1, 5) - 0.21875).abs() < 1e-12);
/// ```
pub fn mcnemar(only_reference: u64, only_candidate: u64) -> f64 {
    let (fewer, n) = (only_reference.min(only_candidate), only_reference + only_candidate);
    // The binomial distribution's lower tail. In logarithms, since 0.5^n is 0 from n = 1075 on.
    let mut log_ways = 0.0;
    let (mut tail, log_half) = (0.0, n as f64 * std::f64::consts::LN_2);
    for k in 0..=fewer {
        tail += f64::exp(log_ways - log_half);
        log_ways += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}
