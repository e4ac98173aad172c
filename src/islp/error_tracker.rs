//! `ISLP.torch.ErrorTracker`: collects predictions and targets batch by batch and computes the metrics once over all of
//! them, so that they are not means of batch means.

use tch::{Device, Tensor};

use super::{Error, SimpleModule};

/// The logits and labels of an evaluation so far.
///
/// ```
/// use islp_mnist::islp::ErrorTracker;
/// use tch::Tensor;
///
/// let mut tracker = ErrorTracker::default();
/// let logits = Tensor::from_slice(&[2f32, 1.0, 0.0, 3.0]).view([2, 2]);
/// tracker.update(logits, Tensor::from_slice(&[0i64, 0]));
/// assert_eq!(tracker.confusion_matrix()?, [[1, 1], [0, 0]]);
/// # Ok::<(), islp_mnist::islp::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ErrorTracker {
    preds: Vec<Tensor>,
    targets: Vec<Tensor>,
}

/// The mean loss and the fraction of correct predictions over a whole data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// Mean cross-entropy, in nats.
    pub loss: f32,
    /// From 0 to 1.
    pub accuracy: f32,
}

impl ErrorTracker {
    /// Adds a batch: logits `[N, C]`, labels `[N]`.
    pub fn update(&mut self, preds: Tensor, targets: Tensor) {
        self.preds.push(preds);
        self.targets.push(targets);
    }

    /// Loss and accuracy over all batches.
    ///
    /// # Errors
    /// Fails if there are no batches, or labels don't match the logits.
    pub fn compute(&self, module: &SimpleModule) -> Result<Metrics, Error> {
        let (preds, targets) = self.all()?;
        Ok(Metrics {
            loss: f32::try_from(module.loss(&preds, &targets)?)?,
            accuracy: f32::try_from(module.accuracy(&preds, &targets)?)?,
        })
    }

    /// Counts of images by label (row) and predicted class (column), `[C][C]`; `torchmetrics.ConfusionMatrix`.
    ///
    /// # Errors
    /// Fails like [`compute`](Self::compute), or if a label is not one of the C classes.
    pub fn confusion_matrix(&self) -> Result<Vec<Vec<i64>>, Error> {
        let (preds, targets) = self.all()?;
        let (_, classes) = preds.size2()?;
        let cells = targets.f_mul_scalar(classes)?.f_add(&preds.f_argmax(1, false)?)?;
        let counts = cells.f_bincount::<Tensor>(None, classes * classes)?.f_to_device(Device::Cpu)?;
        let counts = Vec::<i64>::try_from(counts)?;
        if counts.len() as i64 != classes * classes {
            return Err(Error::Label { classes });
        }
        Ok(counts.chunks(classes as usize).map(<[i64]>::to_vec).collect())
    }

    /// True if every logit is finite.
    ///
    /// # Errors
    /// Fails if there are no batches.
    pub fn is_finite(&self) -> Result<bool, Error> {
        let (preds, _) = self.all()?;
        Ok(bool::try_from(preds.f_isfinite()?.f_all()?)?)
    }

    /// The logits `[N, C]` and labels `[N]` of all batches.
    pub(crate) fn all(&self) -> Result<(Tensor, Tensor), Error> {
        Ok((Tensor::f_cat(&self.preds, 0)?, Tensor::f_cat(&self.targets, 0)?))
    }
}
