//! Statistics of a study and their summary as text. They follow NumPy, SciPy and Bouthillier et al. 2021, "Accounting
//! for variance in machine learning benchmarks".

use std::fmt::{self, Display, Formatter};

use super::{ModelName, Row, Varied};
use crate::notebook::{self, models::Model};
use crate::run::End;
use crate::torch::Generator;
use crate::util::text::count;

/// Samples that the bootstrap draws.
const RESAMPLES: usize = 10_000;
/// Quantiles at the ends of a 95 % interval.
const ENDS: [f64; 2] = [0.025, 0.975];
/// With fewer values the percentile bootstrap's intervals are too narrow.
pub const FEW: usize = 10;
/// Half a percentage point of accuracy.
const SMALL_DIFFERENCE: f64 = 0.005;
/// Test images in MNIST.
pub(super) const IMAGES: usize = 10_000;

/// Statistics of a whole study; its text is what `islp-mnist study` prints.
///
/// ```
/// use islp_mnist::study::{Summary, rows_in};
///
/// let summary = Summary::new(&rows_in("output/study".as_ref())?).to_string();
/// assert!(summary.starts_with("MNISTModel, test accuracy over 100 seeds\n"));
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Summary {
    /// One distribution for each model and kind of seed.
    pub distributions: Vec<Distribution>,
    /// The two models compared, if both ran with some of the same seeds.
    pub difference: Option<Difference>,
}

impl Summary {
    /// Computes the statistics of a study's rows.
    pub fn new(rows: &[Row]) -> Self {
        let mut sorted: Vec<&Row> = rows.iter().collect();
        sorted.sort_by_key(|row| (row.varied, row.model.to_string()));
        let groups = sorted.chunk_by(|a, b| (a.varied, &a.model) == (b.varied, &b.model));
        Self { distributions: groups.map(Distribution::new).collect(), difference: Difference::new(rows) }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let texts = self.distributions.iter().map(ToString::to_string);
        let texts: Vec<String> = texts.chain(self.difference.iter().map(ToString::to_string)).collect();
        f.write_str(texts.join("\n").trim_end())
    }
}

/// Test accuracies of one model with one kind of seed.
///
/// ```
/// use islp_mnist::study::{Summary, rows_in};
///
/// let summary = Summary::new(&rows_in("output/study".as_ref())?);
/// let mlp = &summary.distributions[0];
/// assert!(mlp.standard_deviation.value > mlp.binomial_error());
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Distribution {
    /// The model.
    pub model: ModelName,
    /// The randomness that the seeds vary.
    pub varied: Varied,
    /// The epochs of the finished runs; none if they differ.
    pub epochs: Option<usize>,
    /// Test accuracy of each finished run.
    pub accuracies: Vec<f64>,
    /// Number of runs that diverged or failed.
    pub others: usize,
    /// The mean with its 95 % interval.
    pub mean: Interval,
    /// The standard deviation, with n - 1, and its 95 % interval.
    pub standard_deviation: Interval,
}

impl Distribution {
    /// Computes the statistics of rows of one model and kind of seed, at least one.
    fn new(rows: &[&Row]) -> Self {
        let finished: Vec<&Row> = rows.iter().copied().filter(|row| accuracy(row).is_some()).collect();
        let accuracies: Vec<f64> = finished.iter().filter_map(|row| accuracy(row)).collect();
        let epochs = finished.first().map(|row| row.epochs);
        Self {
            model: rows[0].model.clone(),
            varied: rows[0].varied,
            epochs: epochs.filter(|epochs| finished.iter().all(|row| row.epochs == *epochs)),
            others: rows.len() - accuracies.len(),
            mean: bootstrap_mean(&accuracies),
            standard_deviation: bootstrap(&accuracies, standard_deviation),
            accuracies,
        }
    }

    /// True if the seeds stand for other trainings as a whole, not for one source of randomness.
    pub fn is_of_whole_runs(&self) -> bool {
        matches!(self.varied, Varied::Seed | Varied::Run)
    }

    /// What one of the accuracies stands for: "seed" or "run".
    pub fn unit(&self) -> &'static str {
        if self.varied == Varied::Run { "run" } else { "seed" }
    }

    /// The notebook's model that these accuracies can be compared with: trained as long as there, with all randomness
    /// varied.
    pub fn in_notebook(&self) -> Option<Model> {
        let is_as_long = self.epochs == Some(notebook::Options::default().epochs);
        self.model.in_notebook().filter(|_| is_as_long && self.is_of_whole_runs())
    }

    /// A sentence that says how many seeds a small difference would need; none for fewer than two accuracies.
    pub fn power(&self) -> Option<String> {
        if self.accuracies.len() < 2 || !self.is_of_whole_runs() {
            return None;
        }
        let seeds = seeds_needed(self.standard_deviation.value, SMALL_DIFFERENCE);
        Some(format!(
            "to find a difference of half a percentage point between two trainings (power 80 %, level 5 %), each needs {}",
            count(seeds, self.unit())
        ))
    }

    /// Returns the lowest and the highest accuracy; NaN if there are none.
    pub fn range(&self) -> [f64; 2] {
        [0.0, 1.0].map(|q| quantile(&self.accuracies, q))
    }

    /// Returns the [`binomial_error`] of the mean accuracy on MNIST's test images.
    pub fn binomial_error(&self) -> f64 {
        binomial_error(self.mean.value, IMAGES)
    }

    /// Counts the seeds whose test accuracy is below the notebook's; none if they can't be compared with it.
    pub fn below_printed(&self) -> Option<usize> {
        let printed = printed(self.in_notebook()?) as f32;
        // In f32, the type in which the accuracies were computed.
        Some(self.accuracies.iter().filter(|&&accuracy| (accuracy as f32) < printed).count())
    }
}

impl Display for Distribution {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { model, varied, accuracies, others, mean: center, standard_deviation, .. } = self;
        let class_name = model.class_name();
        let what = match varied {
            Varied::Seed => count(accuracies.len(), "seed"),
            Varied::Source(source) => format!("{} of {source} alone", count(accuracies.len(), "seed")),
            Varied::Run => count(accuracies.len(), "run"),
        };
        writeln!(f, "{class_name}, test accuracy over {what}")?;
        if *others > 0 {
            writeln!(f, "  {others} more did not finish")?;
        }
        if accuracies.is_empty() {
            return Ok(());
        }
        let Interval { value, low, high } = center;
        write!(f, "  mean                {value:.4}")?;
        if accuracies.len() > 1 {
            write!(f, "   95 % interval {low:.4} to {high:.4} (bootstrap)")?;
        }
        writeln!(f)?;
        if accuracies.len() > 1 {
            let Interval { value, low, high } = standard_deviation;
            writeln!(
                f,
                "  standard deviation  {value:.4}   95 % interval {low:.4} to {high:.4} (bootstrap)"
            )?;
        }
        let (median, [low, high]) = (quantile(accuracies, 0.5), self.range());
        writeln!(f, "  median              {median:.4}   range {low:.4} to {high:.4}")?;
        let binomial = self.binomial_error();
        writeln!(f, "  binomial error      {binomial:.4}   standard error from {IMAGES} test images alone")?;
        if let (Some(model), Some(below)) = (self.in_notebook(), self.below_printed()) {
            let (printed, n) = (printed(model), count(accuracies.len(), self.unit()));
            writeln!(f, "  the notebook's      {printed:.3}    {below} of {n} are below")?;
        }
        if let Some(power) = self.power() {
            writeln!(f, "  {power}")?;
        }
        if (2..FEW).contains(&accuracies.len()) {
            writeln!(f, "  caution: with fewer than {FEW} {}s, the intervals are too narrow", self.unit())?;
        }
        Ok(())
    }
}

/// Two models compared on the seeds that both ran with.
///
/// ```
/// use islp_mnist::study::{Summary, rows_in};
///
/// let summary = Summary::new(&rows_in("output/study".as_ref())?);
/// let difference = summary.difference.unwrap();
/// assert!(difference.n == 100 && difference.outperforms.value > 0.9);
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Difference {
    /// Number of shared seeds.
    pub n: usize,
    /// Mean accuracy of the MLP minus that of logistic regression.
    pub mean: Interval,
    /// Number of seeds with which the MLP is better.
    pub wins: usize,
    /// Probability that the MLP is better, see [`outperforms`].
    pub outperforms: Interval,
}

impl Difference {
    fn new(rows: &[Row]) -> Option<Self> {
        let of = |model| {
            let name = ModelName::Notebook(model);
            rows.iter().filter(move |row| row.model == name && row.varied == Varied::Seed)
        };
        let pairs: Vec<(f64, f64)> = of(Model::Mlp)
            .filter_map(|mlp| {
                let mlr = of(Model::Mlr).find(|mlr| mlr.seed == mlp.seed)?;
                Some((accuracy(mlp)?, accuracy(mlr)?))
            })
            .collect();
        let differences: Vec<f64> = pairs.iter().map(|(mlp, mlr)| mlp - mlr).collect();
        (!pairs.is_empty()).then(|| Self {
            n: pairs.len(),
            mean: bootstrap_mean(&differences),
            wins: pairs.iter().filter(|(mlp, mlr)| mlp > mlr).count(),
            outperforms: outperforms(&pairs),
        })
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { n, mean, wins, outperforms } = self;
        writeln!(f, "MNISTModel and MNIST_MLR, on the {} of both", count(*n, "seed"))?;
        let Interval { value, low, high } = mean;
        write!(f, "  difference          {value:.4}")?;
        // Of one seed there is none.
        if low < high {
            write!(f, "   95 % interval {low:.4} to {high:.4} (bootstrap)")?;
        }
        writeln!(f)?;
        let Interval { value, low, high } = outperforms;
        write!(f, "  P(MLP > MLR)        {value:.4}   with {wins} of {}", count(*n, "seed"))?;
        // If all seeds agree, every bootstrap sample is the same.
        if (0.0..1.0).contains(low) && low < high {
            write!(f, ", 95 % interval {low:.4} to {high:.4} (bootstrap)")?;
        }
        writeln!(f)
    }
}

/// Returns the test accuracy of a finished run.
fn accuracy(row: &Row) -> Option<f64> {
    row.test_accuracy.filter(|accuracy| row.end == End::MaxEpochs && (0.0..=1.0).contains(accuracy))
}

/// Returns the test accuracy that the notebook prints.
pub(super) fn printed(model: Model) -> f64 {
    match model {
        Model::Mlp => 0.966,
        Model::Mlr => 0.922,
    }
}

/// Returns the test accuracies that versions v1, v2, v2.2 and v2.2.1 of the book's own notebook, ISLP_labs, print with
/// seed 0.
pub(super) fn printed_in_labs(model: Model) -> Vec<f64> {
    match model {
        Model::Mlp => vec![0.9681, 0.9657, 0.9620, 0.9641],
        // v2.2.1 prints the same as v2.
        Model::Mlr => vec![0.9241, 0.9235, 0.9161],
    }
}

/// A number with its 95 % confidence interval.
///
/// ```
/// use islp_mnist::study::{Interval, bootstrap_mean};
///
/// let Interval { value, low, high } = bootstrap_mean(&[0.96, 0.97, 0.965]);
/// assert!(0.959 < low && low < value && value < high && high < 0.971);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate from the sample.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// `np.mean(values)` up to the order of the sum; NaN if empty.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `np.std(values, ddof=1)`; NaN if there are fewer than two.
pub fn standard_deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares = values.iter().map(|value| (value - center).powi(2)).sum::<f64>();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// `np.quantile(values, q)` with linear interpolation; NaN if empty.
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
    // NumPy's `_lerp`, exact at both ends.
    if part >= 0.5 { high - (high - low) * (1.0 - part) } else { low + (high - low) * part }
}

/// The standard error of an accuracy on this number of images: the standard deviation of the binomial distribution,
/// divided by the number.
///
/// ```
/// assert!((islp_mnist::study::binomial_error(0.966, 10_000) - 0.00181).abs() < 1e-5);
/// ```
pub fn binomial_error(accuracy: f64, images: usize) -> f64 {
    (accuracy * (1.0 - accuracy) / images as f64).sqrt()
}

/// Returns the mean with its 95 % interval by the percentile bootstrap of 10,000 samples;
/// `scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000)`. A generator with seed 0 draws
/// the samples, so the same values give the same interval; NaN if empty.
pub fn bootstrap_mean(values: &[f64]) -> Interval {
    bootstrap(values, mean)
}

/// The same for another statistic.
fn bootstrap(values: &[f64], statistic: fn(&[f64]) -> f64) -> Interval {
    let n = values.len();
    if n == 0 {
        return Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    let generator = Generator::new(0);
    let mut sample = vec![0.0; n];
    let mut statistic_of_sample = || {
        sample.fill_with(|| values[(generator.random() % n as u64) as usize]);
        statistic(&sample)
    };
    let mut statistics: Vec<f64> = (0..RESAMPLES).map(|_| statistic_of_sample()).collect();
    statistics.sort_by(f64::total_cmp);
    let [low, high] = ENDS.map(|q| quantile_of_sorted(&statistics, q));
    Interval { value: statistic(values), low, high }
}

/// Returns the number of seeds that each of two trainings needs, so that a difference between their means is found with a
/// probability of 80 %, at a level of 5 %, if both have this standard deviation.
///
/// Within one seed it is `TTestIndPower().solve_power(difference / standard_deviation, power=0.8, alpha=0.05)` of
/// `statsmodels.stats.power`, rounded up. It takes the normal distribution with Guenther's correction instead of Student's.
///
/// ```
/// assert_eq!(islp_mnist::study::seeds_needed(0.005, 0.005), 17);
/// ```
pub fn seeds_needed(standard_deviation: f64, difference: f64) -> usize {
    /// The normal distribution's 97.5 % and 80 % quantiles.
    const QUANTILES: [f64; 2] = [1.959963984540054, 0.8416212335729143];
    let sum: f64 = QUANTILES.iter().sum();
    let seeds = 2.0 * (sum * standard_deviation / difference).powi(2) + QUANTILES[0].powi(2) / 4.0;
    (seeds.ceil() as usize).max(2)
}

/// Returns the probability that the first model beats the second with the same seed, P(A > B), with its 95 % interval by
/// the percentile bootstrap. Each pair belongs to one seed. Unlike in Bouthillier et al., a tie counts half.
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
