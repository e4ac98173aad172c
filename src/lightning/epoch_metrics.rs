//! Loss and accuracy of an epoch's training steps, and their means; Lightning's `_ResultCollection`.

use tch::{Device, Tensor};

use crate::islp::Error;
use crate::islp::error_tracker::Metrics;

/// The steps of an epoch so far. What they came to stays on the device until [`drain`](Self::drain) reads it: reading
/// every single one would have a GPU stop and wait.
#[derive(Debug, Default)]
pub struct EpochMetrics {
    losses: Vec<Tensor>,
    preds: Vec<Tensor>,
    targets: Vec<Tensor>,
    loss: Mean,
    accuracy: Mean,
}

impl EpochMetrics {
    /// Takes in a step: its loss, a scalar, logits `[N, C]` and labels `[N]`.
    pub fn update(&mut self, loss: &Tensor, preds: &Tensor, targets: Tensor) {
        self.losses.push(loss.detach());
        self.preds.push(preds.detach());
        self.targets.push(targets);
    }

    /// Reads loss and accuracy of each step since the last call.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn drain(&mut self) -> Result<Vec<Metrics>, Error> {
        if self.losses.is_empty() {
            return Ok(vec![]);
        }
        let losses = Vec::<f32>::try_from(Tensor::f_stack(&self.losses, 0)?.f_to_device(Device::Cpu)?)?;
        // Judged on the CPU, as ISLP's metrics are.
        let preds = Tensor::f_cat(&self.preds, 0)?.f_to_device(Device::Cpu)?;
        let targets = Tensor::f_cat(&self.targets, 0)?.f_to_device(Device::Cpu)?;
        let correct = preds.f_argmax(1, false)?.f_eq_tensor(&targets)?;
        let mut correct = Vec::<bool>::try_from(correct)?.into_iter();
        let mut steps = vec![];
        for (loss, targets) in losses.into_iter().zip(&self.targets) {
            let batch_size = targets.numel();
            let correct = correct.by_ref().take(batch_size).filter(|&correct| correct).count();
            let step = Metrics { loss, accuracy: correct as f32 / batch_size as f32 };
            self.loss.update(step.loss, batch_size);
            self.accuracy.update(step.accuracy, batch_size);
            steps.push(step);
        }
        self.losses.clear();
        self.preds.clear();
        self.targets.clear();
        Ok(steps)
    }

    /// The means over the steps read; NaN where there was none.
    pub fn compute(&self) -> Metrics {
        Metrics { loss: self.loss.compute(), accuracy: self.accuracy.compute() }
    }
}

/// A mean weighted by batch size, summed in f32 as Lightning's `_ResultMetric` does.
#[derive(Debug, Default)]
struct Mean {
    sum: f32,
    count: usize,
}

impl Mean {
    fn update(&mut self, value: f32, batch_size: usize) {
        self.sum += value * batch_size as f32;
        self.count += batch_size;
    }

    fn compute(&self) -> f32 {
        self.sum / self.count as f32
    }
}
