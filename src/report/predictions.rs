//! What a model makes of the test images.

use tch::vision::dataset::Dataset;
use tch::{Device, Kind, Tensor};

use super::Error;
use crate::islp;
use crate::islp::error_tracker::{ErrorTracker, Metrics};
use crate::islp::module::SimpleModule;
use crate::lightning::evaluate_test;

/// Bins of the confidence, as many as torchmetrics takes by itself.
const BINS: i64 = 15;

/// What a model says of every test image.
pub struct Predictions {
    pub metrics: Metrics,
    /// A row for each label, in it a column for each digit it was taken for.
    pub confusion_matrix: Vec<Vec<i64>>,
    pub calibration: Calibration,
    /// The labels, and the digits the images were taken for.
    pub truths: Vec<i64>,
    pub guesses: Vec<i64>,
    /// Ten for each image.
    probabilities: Vec<f32>,
}

/// How sure a model is, and how often it is right then.
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
    /// The bins with images in them, from unsure to sure.
    pub bins: Vec<Bin>,
}

/// The images for which the model's highest probability lies in a fifteenth of 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Bin {
    /// The mean of the highest probabilities.
    pub confidence: f32,
    /// The part of the images that is right.
    pub accuracy: f32,
    /// The part of all images that is in this bin.
    pub fraction: f32,
}

/// How sure logits `[N, C]` are, and how often right by labels `[N]`;
/// `torchmetrics.functional.calibration_error(logits, labels, task="multiclass", n_bins=15, norm="l1")`, operation by
/// operation.
///
/// # Errors
/// Labels that don't fit the logits, or short memory.
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
    let [confidence, accuracy, fraction] = [confidence, accuracy, fraction].map(floats);
    let bins = confidence?.into_iter().zip(accuracy?).zip(fraction?);
    let bins = bins.map(|((confidence, accuracy), fraction)| Bin { confidence, accuracy, fraction });
    Ok(Calibration { error: error.try_into()?, bins: bins.filter(|bin| bin.fraction > 0.0).collect() })
}

fn floats(tensor: Tensor) -> Result<Vec<f32>, islp::Error> {
    Ok(Vec::try_from(tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view(-1)?)?)
}

impl Predictions {
    /// Of the module for the data's test images, in batches of so many.
    ///
    /// # Errors
    /// Outputs that are not all finite, or short memory.
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
            Ok((truths, guesses, floats(logits.f_softmax(1, Kind::Float)?)?))
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

    /// The probability that the model gives an image to be this digit.
    pub fn probability(&self, image: usize, digit: i64) -> f32 {
        let classes = self.probabilities.len() / self.truths.len();
        self.probabilities[image * classes + digit as usize]
    }

    /// The images that are taken for another digit, with the surest first.
    pub fn worst_mistakes(&self, most: usize) -> Vec<usize> {
        let mut wrong: Vec<usize> = (0..self.truths.len()).filter(|&image| !self.is_right(image)).collect();
        let sure = |image: &usize| self.probability(*image, self.guesses[*image]);
        wrong.sort_by(|a, b| sure(b).total_cmp(&sure(a)));
        wrong.truncate(most);
        wrong
    }
}
