//! `pytorch_lightning.Trainer`: the one training loop. The file is longer than others so that all of a training run is in
//! one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::info;

use crate::islp::data_module::SimpleDataModule;
use crate::islp::error_tracker::Metrics;
use crate::islp::module::SimpleModule;
use crate::lightning::Error;
use crate::lightning::checkpoint::{Checkpoint, TrainerState};
use crate::lightning::csv_logger::CsvLogger;
use crate::lightning::divergence::{Divergence, Losses};
use crate::lightning::epoch_metrics::EpochMetrics;
use crate::lightning::evaluation_loop::evaluate;
use crate::lightning::limit_train_batches::LimitTrainBatches;
use crate::lightning::model_checkpoint::ModelCheckpoint;
use crate::lightning::model_summary;
use crate::lightning::progress_bar::ProgressBar;
use crate::lightning::trace_steps;
use crate::torch::data::DataLoader;
use crate::torch::generator::Generator;
use crate::trace::{State, Trace};

/// A row of `train_accuracy_step` is logged every so many steps; Lightning's `log_every_n_steps`.
const LOG_EVERY_N_STEPS: usize = 50;
/// Lightning tries so many validation batches before training.
const NUM_SANITY_VAL_STEPS: usize = 2;

/// Why `fit` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It did `max_epochs` epochs.
    MaxEpochs,
    /// `max_time` was over.
    MaxTime,
    /// `should_stop` was set; the epoch under way is lost, but for the metrics logged in it.
    ShouldStop,
}

/// Trains and tests one module, logging as Lightning does. What Lightning says besides goes to the `log` crate, as
/// information.
///
/// ```
/// use islp_mnist::islp::{SimpleDataModule, SimpleModule};
/// use islp_mnist::lightning::{CsvLogger, Ended, Trainer};
/// use islp_mnist::{notebook::models::MnistMlr, torch::Generator, torchvision};
/// use tch::{Device, nn::VarStore};
///
/// let generator = Generator::new(0);
/// let mnist = torchvision::load("tests/data/fashion-mnist".as_ref(), Device::Cpu)?;
/// let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator)?;
/// let vs = VarStore::new(Device::Cpu);
/// let model = MnistMlr::new(&vs.root(), &generator)?;
/// let mut module = SimpleModule::classification(Box::new(model), vs, 0.01)?;
///
/// let folder = tempfile::tempdir()?;
/// let mut trainer = Trainer::new(2, CsvLogger::new(folder.path(), "run")?, &generator);
/// assert_eq!(trainer.fit(&mut module, &data)?, Ended::MaxEpochs);
/// let metrics = trainer.test(&module, &data)?;
/// assert!(metrics.accuracy > 0.1, "better than guessing");
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    /// `fit` ends after so many epochs.
    pub max_epochs: usize,
    /// `fit` ends with the epoch in which this much time has passed since the trainer was made.
    pub max_time: Option<Duration>,
    /// An epoch is that part of the training batches.
    pub limit_train_batches: LimitTrainBatches,
    /// Saves what a stopped run needs to go on.
    pub checkpoint: Option<ModelCheckpoint>,
    /// `fit` ends with an error as soon as it sees that the loss is no finite number.
    pub terminate_on_nan: bool,
    /// `fit` ends after the step in which this becomes true, from another thread or a signal.
    pub should_stop: Arc<AtomicBool>,
    /// A progress bar on stderr, where that is a terminal. Where none is drawn, each epoch is a line of the log.
    pub enable_progress_bar: bool,
    /// Where every training step is written down.
    pub trace: Option<Trace>,
    /// What was logged so far.
    pub logger: CsvLogger,
    /// The number of epochs finished.
    pub current_epoch: usize,
    /// The number of training steps taken.
    pub global_step: usize,
    generator: Generator,
    start: Instant,
}

impl Trainer {
    /// A trainer without the options that `Trainer`'s public fields are. `generator` is the one that the data's loaders
    /// and the model's layers draw from.
    pub fn new(max_epochs: usize, logger: CsvLogger, generator: &Generator) -> Self {
        Self {
            max_epochs,
            max_time: None,
            limit_train_batches: LimitTrainBatches::default(),
            checkpoint: None,
            terminate_on_nan: false,
            should_stop: Arc::default(),
            enable_progress_bar: false,
            trace: None,
            logger,
            current_epoch: 0,
            global_step: 0,
            generator: generator.clone(),
            start: Instant::now(),
        }
    }

    /// Puts module and generator where they were when the checkpoint was saved; `fit` goes on from there.
    ///
    /// # Errors
    /// A checkpoint of another model.
    pub fn resume(&mut self, checkpoint: &Checkpoint, module: &mut SimpleModule) -> Result<(), Error> {
        checkpoint.restore(module, &self.generator)?;
        self.current_epoch = checkpoint.state.epoch + 1;
        self.global_step = checkpoint.state.global_step;
        Ok(())
    }

    /// Trains up to `max_epochs` epochs. The metrics are on disk after each.
    ///
    /// # Errors
    /// Data that the model does not take, short memory, files that can't be written; a [`Divergence`].
    pub fn fit(&mut self, module: &mut SimpleModule, data: &SimpleDataModule) -> Result<Ended, Error> {
        info!("{}", model_summary::devices(module.vs.device()));
        info!("{}", model_summary::parameters(&module.model.info()));
        let (mut train_dataloader, mut val_dataloader) = (data.train_dataloader(), data.val_dataloader());
        let batches = self.limit_train_batches.of(train_dataloader.len());
        if batches == 0 {
            return Err(Error::NoBatch);
        }
        if self.current_epoch == 0 {
            self.sanity_check(module, &mut val_dataloader)?;
        } else {
            train_dataloader.resume();
            val_dataloader.resume();
            // Without what an epoch that was stopped had logged.
            self.logger.save()?;
        }

        if let Some(trace) = &mut self.trace {
            trace.start_fit(module.model.info().class_name);
        }
        let bar = self.progress_bar(batches);
        let mut losses = Losses::default();
        while self.current_epoch < self.max_epochs {
            let mut metrics = EpochMetrics::default();
            for batch in train_dataloader.iter()?.take(batches) {
                let (images, labels) = batch?;
                if let Some(trace) = &mut self.trace {
                    let (epoch, step) = (self.current_epoch, self.global_step);
                    let state = State::of(&module.vs, &module.optimizer, &self.generator, step);
                    trace.start_step(epoch, step, &state)?;
                }
                let logits = module.forward(&images, true)?;
                let loss = module.loss(&logits, &labels)?;
                let gradients = module.optimizer.gradients(&loss)?;
                module.optimizer.step(&gradients)?;

                self.global_step += 1;
                if let Some(trace) = &mut self.trace {
                    let step = [&images, &labels, &logits, &loss];
                    trace_steps::end(trace, self.global_step, module, &self.generator, step, &gradients)?;
                }
                metrics.update(&loss, &logits, labels);
                self.step_end(module, &mut metrics, &mut losses, &bar)?;
                if self.should_stop.load(Ordering::Relaxed) {
                    return self.stop();
                }
            }
            let valid = evaluate(module, &mut val_dataloader, usize::MAX)?.compute(module)?;
            let is_out_of_time = self.max_time.is_some_and(|max_time| self.start.elapsed() >= max_time);
            let train = self.epoch_end(module, metrics, valid, &mut losses, is_out_of_time)?;
            bar.epoch_end(self.current_epoch, train, valid);
            if is_out_of_time && self.current_epoch < self.max_epochs {
                self.end_trace(module)?;
                bar.finish();
                info!("{}", model_summary::out_of_time(self.start.elapsed()));
                return Ok(Ended::MaxTime);
            }
        }
        self.end_trace(module)?;
        bar.finish();
        info!("{}", model_summary::stopped(self.max_epochs));
        Ok(Ended::MaxEpochs)
    }

    fn progress_bar(&self, steps_per_epoch: usize) -> ProgressBar {
        let deadline = self.max_time.and_then(|max_time| self.start.checked_add(max_time));
        let (from, max_epochs) = (self.current_epoch, self.max_epochs);
        ProgressBar::new(self.enable_progress_bar, from, max_epochs, steps_per_epoch, deadline)
    }

    fn end_trace(&mut self, module: &SimpleModule) -> Result<(), Error> {
        if let Some(trace) = &mut self.trace {
            trace.end_fit(&State::of(&module.vs, &module.optimizer, &self.generator, self.global_step))?;
        }
        Ok(())
    }

    /// Lightning's sanity check. What it draws is put back, but persistent workers stay.
    fn sanity_check(&self, module: &SimpleModule, val_dataloader: &mut DataLoader) -> Result<(), Error> {
        self.generator.isolate(|| evaluate(module, val_dataloader, NUM_SANITY_VAL_STEPS))?.compute(module)?;
        Ok(())
    }

    /// Every [`LOG_EVERY_N_STEPS`] steps reads what they came to, and logs the last one's accuracy.
    fn step_end(
        &mut self,
        module: &SimpleModule,
        metrics: &mut EpochMetrics,
        losses: &mut Losses,
        bar: &ProgressBar,
    ) -> Result<(), Error> {
        if self.global_step.is_multiple_of(LOG_EVERY_N_STEPS) {
            let steps = metrics.drain()?;
            self.check(losses, &steps, &[], module)?;
            let last = steps[steps.len() - 1];
            self.log(&[("train_accuracy_step", last.accuracy)]);
            bar.train_loss(last.loss);
        }
        bar.step(self.current_epoch);
        Ok(())
    }

    /// Logs an epoch, puts metrics and checkpoint on disk, and counts it as finished; what its training steps came to.
    fn epoch_end(
        &mut self,
        module: &SimpleModule,
        mut metrics: EpochMetrics,
        valid: Metrics,
        losses: &mut Losses,
        is_out_of_time: bool,
    ) -> Result<Metrics, Error> {
        let steps = metrics.drain()?;
        let train = metrics.compute();
        self.log(&[("valid_loss", valid.loss), ("valid_accuracy", valid.accuracy)]);
        self.log(&[("train_loss", train.loss), ("train_accuracy_epoch", train.accuracy)]);
        self.check(losses, &steps, &[train.loss, valid.loss], module)?;
        self.logger.save()?;

        let epoch = self.current_epoch;
        self.current_epoch += 1;
        let is_end = is_out_of_time || self.current_epoch == self.max_epochs;
        if let Some(checkpoint) = &mut self.checkpoint {
            let state = TrainerState {
                epoch,
                global_step: self.global_step,
                valid_loss: Some(valid.loss).filter(|loss| loss.is_finite()),
                metrics_sha256: self.logger.sha256(),
            };
            checkpoint.epoch_end(module, &self.generator, state, is_end)?;
        }
        Ok(train)
    }

    /// Puts on disk what there is.
    fn stop(&mut self) -> Result<Ended, Error> {
        self.logger.save()?;
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.save_pending()?;
        }
        Ok(Ended::ShouldStop)
    }

    /// Ends a training that has diverged, having put its metrics on disk.
    fn check(
        &self,
        losses: &mut Losses,
        steps: &[Metrics],
        epoch_losses: &[f32],
        module: &SimpleModule,
    ) -> Result<(), Error> {
        losses.update(self.global_step, steps.iter().map(|step| step.loss));
        match losses.divergence(epoch_losses).filter(|_| self.terminate_on_nan) {
            Some((step, loss, last_finite_loss)) => {
                self.logger.save()?;
                let best = self.checkpoint.as_ref().and_then(ModelCheckpoint::best);
                let lr = module.optimizer.lr();
                Err(Divergence { epoch: self.current_epoch, step, lr, loss, last_finite_loss, best }.into())
            }
            None => Ok(()),
        }
    }

    /// Loss and accuracy on the test images, logged too.
    ///
    /// # Errors
    /// Data that the model does not take, short memory, a metrics.csv that can't be written.
    pub fn test(&mut self, module: &SimpleModule, data: &SimpleDataModule) -> Result<Metrics, Error> {
        let test = evaluate(module, &mut data.test_dataloader(), usize::MAX)?.compute(module)?;
        let metrics = [("test_loss", test.loss), ("test_accuracy", test.accuracy)];
        self.logger.log_metrics(&metrics, self.current_epoch, self.global_step);
        self.logger.save()?;
        Ok(test)
    }

    /// Logs metrics of the step just taken; Lightning counts steps from 0.
    fn log(&mut self, metrics: &[(&str, f32)]) {
        self.logger.log_metrics(metrics, self.current_epoch, self.global_step - 1);
    }
}
