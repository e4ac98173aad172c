//! `pytorch_lightning.Trainer`: the one training loop, and the evaluation after it.

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, no_grad};

use crate::banner;
use crate::csv_logger::CsvLogger;
use crate::data::{DataLoader, SimpleDataModule};
use crate::error_tracker::{ErrorTracker, Metrics};
use crate::generator::Generator;
use crate::module::SimpleModule;
use crate::progress::Progress;
use crate::summary::summary;

/// A row of `train_accuracy_step` is logged every so many steps; Lightning's `log_every_n_steps`.
const LOG_EVERY_N_STEPS: usize = 50;
/// Lightning tries so many validation batches before training.
const NUM_SANITY_VAL_STEPS: usize = 2;

/// Trains and tests one module, logging as Lightning does.
#[derive(Debug)]
pub struct Trainer {
    max_epochs: usize,
    logger: CsvLogger,
    generator: Generator,
    progress: bool,
    current_epoch: usize,
    global_step: usize,
}

impl Trainer {
    /// `generator` is the one that the data's loaders and the model's layers draw from. `progress` asks for
    /// a progress bar, which shows on a terminal only.
    pub fn new(max_epochs: usize, logger: CsvLogger, generator: &Generator, progress: bool) -> Self {
        banner::print(&banner::devices());
        Self { max_epochs, logger, generator: generator.clone(), progress, current_epoch: 0, global_step: 0 }
    }

    /// Trains for `max_epochs` epochs. The metrics are on disk after each.
    pub fn fit(&mut self, module: &mut SimpleModule, data: &SimpleDataModule) -> Result<()> {
        banner::print(&banner::parameters(&summary(&*module.model, &[1, 1, 28, 28])));
        let mut train_dataloader = data.train_dataloader();
        let mut val_dataloader = data.val_dataloader();
        // Lightning's sanity check. What it draws is put back, but persistent workers stay.
        self.generator.isolate(|| evaluate(module, &mut val_dataloader, NUM_SANITY_VAL_STEPS))?;

        let progress = Progress::new(self.progress, self.max_epochs, train_dataloader.len());
        while self.current_epoch < self.max_epochs {
            let mut loss_mean = EpochMean::new();
            let mut accuracy_mean = EpochMean::new();
            for (images, labels) in train_dataloader.iter() {
                let logits = module.model.forward_t(&images, true);
                let loss = module.loss(&logits, &labels);
                let accuracy = module.accuracy(&logits, &labels);
                loss_mean.update(&loss.detach(), labels.size()[0]);
                accuracy_mean.update(&accuracy, labels.size()[0]);

                module.optimizer.zero_grad();
                loss.backward();
                module.optimizer.step();

                self.global_step += 1;
                if self.global_step.is_multiple_of(LOG_EVERY_N_STEPS) {
                    self.log(&[("train_accuracy_step", f32::try_from(&accuracy)?)]);
                }
                progress.step(self.current_epoch, &loss);
            }
            let valid = evaluate(module, &mut val_dataloader, usize::MAX)?;
            self.log(&[("valid_loss", valid.loss), ("valid_accuracy", valid.accuracy)]);
            self.log(&[
                ("train_loss", loss_mean.compute()?),
                ("train_accuracy_epoch", accuracy_mean.compute()?),
            ]);
            self.logger.save()?;
            progress.validated(valid.accuracy);
            self.current_epoch += 1;
        }
        progress.finish();
        banner::print(&banner::stopped(self.max_epochs));
        Ok(())
    }

    /// Loss and accuracy on the test images, logged too.
    pub fn test(&mut self, module: &SimpleModule, data: &SimpleDataModule) -> Result<Metrics> {
        let test = evaluate(module, &mut data.test_dataloader(), usize::MAX)?;
        let metrics = [("test_loss", test.loss), ("test_accuracy", test.accuracy)];
        self.logger.log_metrics(&metrics, self.current_epoch, self.global_step);
        self.logger.save()?;
        Ok(test)
    }

    /// Logs metrics of the step just taken; Lightning counts steps from 0.
    fn log(&mut self, metrics: &[(&'static str, f32)]) {
        self.logger.log_metrics(metrics, self.current_epoch, self.global_step - 1);
    }
}

/// Loss and accuracy over the loader's first batches, the model in evaluation mode.
fn evaluate(module: &SimpleModule, dataloader: &mut DataLoader, limit_batches: usize) -> Result<Metrics> {
    no_grad(|| {
        let mut tracker = ErrorTracker::default();
        for (images, labels) in dataloader.iter().take(limit_batches) {
            tracker.update(module.model.forward_t(&images, false), labels);
        }
        tracker.compute(module).context("cannot evaluate the model")
    })
}

/// The mean of a step's value over an epoch, weighted by batch size, summed in f32 as Lightning's
/// `_ResultMetric` does.
struct EpochMean {
    sum: Tensor,
    count: i64,
}

impl EpochMean {
    fn new() -> Self {
        Self { sum: Tensor::zeros([], (Kind::Float, Device::Cpu)), count: 0 }
    }

    fn update(&mut self, value: &Tensor, batch_size: i64) {
        self.sum += value * batch_size;
        self.count += batch_size;
    }

    fn compute(&self) -> Result<f32> {
        Ok(f32::try_from(&self.sum / self.count)?)
    }
}
