//! The predictions of a model for the test images, and their statistics: calibration, intervals and tests.

use tch::vision::dataset::Dataset;
use tch::{Device, Kind, TchError, Tensor};

use super::Error;
use crate::islp::{self, ErrorTracker, Metrics, SimpleModule};
use crate::lightning::evaluate_test;

/// The normal distribution's 97.5 % quantile, `scipy.stats.norm.isf(0.025)`.
const CRIT: f64 = 1.9599639845400545;
/// Bins of the confidence, torchmetrics' default.
const BINS: i64 = 15;

/// A model's predictions for the test images.
pub struct Predictions {
    pub metrics: Metrics,
    /// Numbers of images, with a row for each label and a column for each prediction.
    pub confusion_matrix: Vec<Vec<i64>>,
    pub calibration: Calibration,
    /// The labels.
    pub truths: Vec<i64>,
    /// The predicted digits.
    pub guesses: Vec<i64>,
    /// One for each class of each image, image by image.
    probabilities: Vec<f32>,
}

/// A model's confidence against its accuracy.
///
/// ```
/// use islp_mnist::report::calibration;
/// use tch::Tensor;
///
/// let logits = Tensor::from_slice(&[9f32, 0.0, 0.0, 9.0]).view([2, 2]);
/// let surely_right = calibration(&logits, &Tensor::from_slice(&[0i64, 1]))?;
/// assert!(surely_right.error < 0.001);
/// # Ok::<(), islp_mnist::islp::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The expected calibration error, from 0 to 1.
    pub error: f32,
    /// The bins that contain images, by increasing confidence.
    pub bins: Vec<Bin>,
}

/// The images whose highest probability lies in one of 15 equal intervals from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Bin {
    /// Mean of the highest probabilities.
    pub confidence: f32,
    /// Fraction of the bin's images that are classified correctly.
    pub accuracy: f32,
    /// Fraction of all images that are in this bin.
    pub fraction: f32,
}

/// Computes the calibration of logits `[N, C]` with labels `[N]`. It follows
/// `torchmetrics.functional.calibration_error(logits, labels, task="multiclass", n_bins=15, norm="l1")` operation by
/// operation.
///
/// # Errors
/// The labels don't fit the logits, or memory is short.
pub fn calibration(logits: &Tensor, labels: &Tensor) -> Result<Calibration, islp::Error> {
    let (confidences, guesses) = logits.f_softmax(1, Kind::Float)?.f_max_dim(1, false)?;
    let right = guesses.f_eq_tensor(labels)?.f_to_kind(Kind::Float)?;
    let options = (Kind::Float, logits.device());
    let boundaries = Tensor::f_linspace(0, 1, BINS + 1, options)?;
    let indices = confidences.f_bucketize(&boundaries, false, true)?.f_sub_scalar(1)?;
    let sum_by_bin =
        |values: &Tensor| Tensor::f_zeros([BINS + 1], options)?.f_scatter_add_(0, &indices, values);
    let count = sum_by_bin(&confidences.f_ones_like()?)?;
    let mean_by_bin = |values: &Tensor| sum_by_bin(values)?.f_div(&count)?.f_nan_to_num(None, None, None);
    let (confidence, accuracy) = (mean_by_bin(&confidences)?, mean_by_bin(&right)?);
    let fraction = count.f_div(&count.f_sum(Kind::Float)?)?;
    let error = accuracy.f_sub(&confidence)?.f_abs()?.f_mul(&fraction)?.f_sum(Kind::Float)?;
    let [confidence, accuracy, fraction] = [&confidence, &accuracy, &fraction].map(floats);
    let bins = confidence?.into_iter().zip(accuracy?).zip(fraction?);
    let bins = bins.map(|((confidence, accuracy), fraction)| Bin { confidence, accuracy, fraction });
    Ok(Calibration { error: error.try_into()?, bins: bins.filter(|bin| bin.fraction > 0.0).collect() })
}

/// The values of a tensor of any shape and device, in its order.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape(-1)?)
}

impl Predictions {
    /// Evaluates the module on the test images, in batches of this size.
    ///
    /// # Errors
    /// An output is not finite, or memory is short.
    pub fn new(module: &SimpleModule, mnist: &Dataset, batch_size: usize) -> Result<Self, Error> {
        Self::of(&evaluate_test(module, mnist, batch_size)?, module)
    }

    fn of(tracker: &ErrorTracker, module: &SimpleModule) -> Result<Self, Error> {
        if !tracker.is_finite()? {
            return Err(Error::NotFinite);
        }
        let (logits, labels) = tracker.all()?;
        let of_torch = |logits: &Tensor| -> Result<_, islp::Error> {
            let guesses = Vec::try_from(logits.f_argmax(1, false)?.f_to_device(Device::Cpu)?)?;
            let truths = Vec::try_from(labels.f_to_device(Device::Cpu)?)?;
            Ok((truths, guesses, floats(&logits.f_softmax(1, Kind::Float)?)?))
        };
        let (truths, guesses, probabilities) = of_torch(&logits)?;
        Ok(Self {
            metrics: tracker.compute(module)?,
            confusion_matrix: tracker.confusion_matrix()?,
            calibration: calibration(&logits, &labels)?,
            truths,
            guesses,
            probabilities,
        })
    }

    pub fn is_right(&self, image: usize) -> bool {
        self.truths[image] == self.guesses[image]
    }

    /// The number of images that the model reads.
    pub fn right(&self) -> usize {
        (0..self.truths.len()).filter(|&image| self.is_right(image)).count()
    }

    /// Returns the probability that the model assigns to a digit for an image.
    pub fn probability(&self, image: usize, digit: i64) -> f32 {
        let classes = self.probabilities.len() / self.truths.len();
        self.probabilities[image * classes + digit as usize]
    }

    /// Returns up to `most` misclassified images, the most confident first.
    pub fn worst_mistakes(&self, most: usize) -> Vec<usize> {
        let mut wrong: Vec<usize> = (0..self.truths.len()).filter(|&image| !self.is_right(image)).collect();
        let confidence = |image: &usize| self.probability(*image, self.guesses[*image]);
        wrong.sort_by(|a, b| confidence(b).total_cmp(&confidence(a)));
        wrong.truncate(most);
        wrong
    }
}

/// Returns `right / count` and the lower and upper end of its 95 % Wilson interval, from 0 to 1; none if `count` is 0.
/// Equals `statsmodels.stats.proportion.proportion_confint(right, count, method="wilson")`.
///
/// ```
/// let [fraction, low, high] = islp_mnist::report::wilson(95, 100).unwrap();
/// assert_eq!(fraction, 0.95);
/// assert!((0.888..0.889).contains(&low) && (0.978..0.979).contains(&high));
/// ```
pub fn wilson(right: u64, count: u64) -> Option<[f64; 3]> {
    let n = Some(count as f64).filter(|&n| n > 0.0)?;
    let fraction = right as f64 / n;
    let crit2 = CRIT * CRIT;
    let denominator = 1.0 + crit2 / n;
    let center = (fraction + crit2 / (2.0 * n)) / denominator;
    let spread = (fraction * (1.0 - fraction) / n + crit2 / (4.0 * (n * n))).sqrt();
    let distance = CRIT * spread / denominator;
    Some([fraction, (center - distance).clamp(0.0, 1.0), (center + distance).clamp(0.0, 1.0)])
}

/// Returns how many percentage points more of `images` the first of two models reads, with the 95 % interval of Bonett
/// and Price (2012), from the numbers of images that only the first and only the second reads. The interval counts one
/// more of each.
///
/// ```
/// let [points, low, high] = islp_mnist::report::paired_difference(60, 20, 1000);
/// assert_eq!(points, 4.0);
/// assert!((2.2..2.3).contains(&low) && (5.7..5.8).contains(&high));
/// ```
pub fn paired_difference(only_first: usize, only_second: usize, images: usize) -> [f64; 3] {
    let n = images as f64 + 2.0;
    let [first, second] = [only_first, only_second].map(|count| (count as f64 + 1.0) / n);
    let distance = CRIT * ((first + second - (first - second).powi(2)) / n).sqrt();
    let points = (only_first as f64 - only_second as f64) / images.max(1) as f64;
    let ends = [-distance, distance].map(|distance| (first - second + distance).clamp(-1.0, 1.0));
    [points, ends[0], ends[1]].map(|fraction| 100.0 * fraction)
}

/// Returns the p-value of McNemar's exact test: the probability, if both models were equally good, of a split at least
/// this uneven among the images that only one of them classifies correctly. The arguments are the two off-diagonal
/// cells of the table in `statsmodels.stats.contingency_tables.mcnemar(table, exact=True).pvalue`.
///
/// ```
/// assert_eq!(islp_mnist::report::mcnemar(0, 0), 1.0);
/// assert!((islp_mnist::report::mcnemar(1, 5) - 0.21875).abs() < 1e-12);
/// ```
pub fn mcnemar(only_reference: u64, only_candidate: u64) -> f64 {
    let (fewer, n) = (only_reference.min(only_candidate), only_reference + only_candidate);
    // The binomial distribution's lower tail, in logarithms because 0.5^n underflows from n = 1075.
    let mut log_ways = 0.0;
    let (mut tail, log_half) = (0.0, n as f64 * std::f64::consts::LN_2);
    for k in 0..=fewer {
        tail += f64::exp(log_ways - log_half);
        log_ways += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}
