//! An epoch in progress: the order of its images, its metrics so far, and what a checkpoint within it contains.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::islp::{self, Metrics};

/// An epoch in progress.
#[derive(Debug, Default)]
pub struct Epoch {
    /// The seed of the order of its images; none if they are not shuffled.
    pub sampler_seed: Option<u64>,
    /// Batches that it has trained on.
    pub completed: usize,
    /// Their metrics.
    pub metrics: EpochMetrics,
}

impl Epoch {
    /// The start of an epoch whose images are in the order of this seed.
    pub fn start(sampler_seed: Option<u64>) -> Self {
        Self { sampler_seed, ..Self::default() }
    }

    /// The epoch after these batches; none if they logged other metrics.
    pub fn resume(progress: &BatchProgress) -> Option<Self> {
        let BatchProgress { completed, sampler_seed, results } = progress;
        let metrics = EpochMetrics::resume(results)?;
        Some(Self { sampler_seed: *sampler_seed, completed: *completed, metrics })
    }

    /// Counts a batch and adds its metrics.
    pub fn update(&mut self, loss: &Tensor, preds: &Tensor, targets: Tensor) {
        self.completed += 1;
        self.metrics.update(loss, preds, targets);
    }

    /// What a checkpoint contains, once the metrics are drained; none if they are not finite, which no JSON contains.
    pub fn progress(&self) -> Option<BatchProgress> {
        let results = self.metrics.results();
        let is_finite = results.values().all(|result| result.value.is_finite());
        let (completed, sampler_seed) = (self.completed, self.sampler_seed);
        is_finite.then_some(BatchProgress { completed, sampler_seed, results })
    }
}

/// The progress within an epoch that is not finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchProgress {
    /// Batches of this epoch that the run has trained on.
    pub completed: usize,
    /// The seed of the order of the images in this epoch; none if they are not shuffled.
    pub sampler_seed: Option<u64>,
    /// The epoch's metrics so far, by Lightning's keys.
    pub results: BTreeMap<String, ResultMetric>,
}

/// A metric of the steps of an epoch so far: the state of Lightning's `_ResultMetric`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultMetric {
    /// The sum of the steps' values, each times its batch size; for another reduction than the mean, its result.
    pub value: f64,
    /// The sum of the batch sizes; none for another reduction than the mean.
    pub cumulated_batch_size: Option<usize>,
    /// The arguments of `LightningModule.log`, from which Lightning makes the metric again.
    pub log: Value,
}

/// The hook of `SimpleModule` that logs the metrics, and their names. Lightning's keys consist of both.
const HOOK: &str = "training_step";
const LOSS: &str = "train_loss";
const ACCURACY: &str = "train_accuracy";

/// Loss and accuracy of an epoch's training steps, and their means; Lightning's `_ResultCollection`. The tensors stay on
/// the device until [`drain`](Self::drain) reads them: reading each step's would stall a GPU.
#[derive(Debug, Default)]
pub struct EpochMetrics {
    losses: Vec<Tensor>,
    preds: Vec<Tensor>,
    targets: Vec<Tensor>,
    loss: Mean,
    accuracy: Mean,
}

impl EpochMetrics {
    /// Adds a step: its loss, a scalar, logits `[N, C]` and labels `[N]`.
    pub fn update(&mut self, loss: &Tensor, preds: &Tensor, targets: Tensor) {
        self.losses.push(loss.detach());
        self.preds.push(preds.detach());
        self.targets.push(targets);
    }

    /// Returns loss and accuracy of each step since the last call.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn drain(&mut self) -> Result<Vec<Metrics>, islp::Error> {
        if self.losses.is_empty() {
            return Ok(vec![]);
        }
        let losses = Vec::<f32>::try_from(Tensor::f_stack(&self.losses, 0)?.f_to_device(Device::Cpu)?)?;
        // ISLP's metrics are computed on the CPU.
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

    /// The means over all steps that [`drain`](Self::drain) has returned; NaN if there are none.
    pub fn compute(&self) -> Metrics {
        Metrics { loss: self.loss.compute(), accuracy: self.accuracy.compute() }
    }

    /// The sums over all steps that [`drain`](Self::drain) has returned, from which [`resume`](Self::resume) continues.
    fn results(&self) -> BTreeMap<String, ResultMetric> {
        let result = |name: &str, mean: &Mean, on_step: bool| {
            let log = json!({
                "fx": HOOK, "name": name, "prog_bar": false, "logger": true, "on_step": on_step, "on_epoch": true,
                "reduce_fx": "mean", "add_dataloader_idx": true,
            });
            let (value, cumulated_batch_size) = (mean.value.into(), Some(mean.cumulated_batch_size));
            (format!("{HOOK}.{name}"), ResultMetric { value, cumulated_batch_size, log })
        };
        [result(LOSS, &self.loss, false), result(ACCURACY, &self.accuracy, true)].into()
    }

    /// Continues the means of an epoch; none if these are other metrics than [`results`](Self::results) returns.
    fn resume(results: &BTreeMap<String, ResultMetric>) -> Option<Self> {
        let mean = |name| Mean::resume(results.get(&format!("{HOOK}.{name}"))?);
        let means = Self { loss: mean(LOSS)?, accuracy: mean(ACCURACY)?, ..Self::default() };
        (results.len() == 2).then_some(means)
    }
}

/// A mean weighted by batch size, summed in f32 like Lightning's `_ResultMetric`.
#[derive(Debug, Default)]
struct Mean {
    value: f32,
    cumulated_batch_size: usize,
}

impl Mean {
    fn update(&mut self, value: f32, batch_size: usize) {
        self.value += value * batch_size as f32;
        self.cumulated_batch_size += batch_size;
    }

    fn compute(&self) -> f32 {
        self.value / self.cumulated_batch_size as f32
    }

    fn resume(result: &ResultMetric) -> Option<Self> {
        Some(Self { value: result.value as f32, cumulated_batch_size: result.cumulated_batch_size? })
    }
}
