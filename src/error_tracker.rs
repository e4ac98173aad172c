//! `ISLP.torch.ErrorTracker`: predictions and targets gathered batch by batch, judged once over all of them,
//! so that the figures are not means of batch means.

use tch::Tensor;

use crate::module::SimpleModule;

/// The logits and labels of an evaluation so far.
#[derive(Debug, Default)]
pub struct ErrorTracker {
    preds: Vec<Tensor>,
    targets: Vec<Tensor>,
}

/// The mean loss and the fraction of correct predictions over a whole data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    pub loss: f32,
    pub accuracy: f32,
}

impl ErrorTracker {
    /// Takes in one batch: logits `[N, C]`, labels `[N]`.
    pub fn update(&mut self, preds: Tensor, targets: Tensor) {
        self.preds.push(preds);
        self.targets.push(targets);
    }

    /// Loss and accuracy over everything taken in. An error if that is nothing.
    pub fn compute(&self, module: &SimpleModule) -> Result<Metrics, tch::TchError> {
        let preds = Tensor::f_cat(&self.preds, 0)?;
        let targets = Tensor::f_cat(&self.targets, 0)?;
        Ok(Metrics {
            loss: f32::try_from(module.loss(&preds, &targets))?,
            accuracy: f32::try_from(module.accuracy(&preds, &targets))?,
        })
    }
}
