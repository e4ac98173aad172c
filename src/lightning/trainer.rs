//! `pytorch_lightning.Trainer`: the one training loop. `fit` is a whole training; its observers (the trace, the metrics,
//! the progress bar, the checkpoints) are called in the `on_train_...` methods, named after Lightning's hooks.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tch::Tensor;

use super::checkpoint::{Checkpoint, TrainerState};
use super::csv_logger::CsvLogger;
use super::epoch::Epoch;
use super::error::Error;
use super::evaluation_loop::evaluate;
use super::limit_train_batches::LimitTrainBatches;
use super::metrics::{Divergence, Losses};
use super::model_checkpoint::ModelCheckpoint;
use super::model_summary;
use super::progress_bar::ProgressBar;
use crate::islp::{Metrics, SimpleDataModule, SimpleModule};
use crate::torch::Generator;
use crate::torch::data::DataLoader;
use crate::torch::outputs::LayerOutputs;
use crate::trace::{State, Trace};

/// Lightning's default of `log_every_n_steps`.
const LOG_EVERY_N_STEPS: usize = 50;
/// Validation batches that Lightning tries before training.
const NUM_SANITY_VAL_STEPS: usize = 2;

/// Trains and tests one module, and logs what Lightning logs.
///
/// ```
/// use islp_mnist::islp::{SimpleDataModule, SimpleModule};
/// use islp_mnist::lightning::{CsvLogger, Ended, Trainer};
/// use islp_mnist::{notebook::models::mnist_mlr, torch::Generator, torchvision};
/// use tch::{Device, nn::VarStore};
///
/// let generator = Generator::new(0);
/// let mnist = torchvision::load("tests/data/fashion-mnist", Device::Cpu)?;
/// let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator)?;
/// let vs = VarStore::new(Device::Cpu);
/// let model = mnist_mlr(&vs.root(), &generator)?;
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
    /// `fit` ends after this number of epochs.
    pub max_epochs: usize,
    /// `fit` ends with the epoch in which this time elapses, counted from [`Trainer::new`].
    pub max_time: Option<Duration>,
    /// The training batches in an epoch.
    pub limit_train_batches: LimitTrainBatches,
    /// Steps between two rows of `train_accuracy_step`; 0 for no such rows.
    pub log_every_n_steps: usize,
    /// Saves checkpoints, from which a stopped run resumes.
    pub checkpoint: Option<ModelCheckpoint>,
    /// `fit` fails as soon as it reads a loss that is NaN or infinite.
    pub terminate_on_nan: bool,
    /// `fit` ends after the step in which another thread or a signal handler sets this.
    pub should_stop: Arc<AtomicBool>,
    /// Called before a training and after each step.
    pub callback: Option<Box<dyn Callback>>,
    /// Takes what Lightning prints before and after a training; by default it goes to the `log` crate at level info.
    pub print: fn(&str),
    /// Draws a progress bar on stderr, if that is a terminal. If none is drawn, each epoch logs a line.
    pub enable_progress_bar: bool,
    /// Records every training step.
    pub trace: Option<Trace>,
    /// The metrics logged so far.
    pub logger: CsvLogger,
    /// The last value of every metric, that of `train_accuracy_step` too where it is not logged.
    pub callback_metrics: BTreeMap<&'static str, f32>,
    /// Epochs finished so far.
    pub current_epoch: usize,
    /// Training steps taken so far.
    pub global_step: usize,
    /// The epoch in which `fit` resumes; none if it starts one.
    resumed: Option<Epoch>,
    generator: Generator,
    start: Instant,
}

impl Trainer {
    /// A trainer with default options; the public fields set others. The data loaders and the model's layers must draw
    /// from `generator`.
    pub fn new(max_epochs: usize, logger: CsvLogger, generator: &Generator) -> Self {
        Self {
            max_epochs,
            max_time: None,
            limit_train_batches: LimitTrainBatches::default(),
            log_every_n_steps: LOG_EVERY_N_STEPS,
            checkpoint: None,
            terminate_on_nan: false,
            should_stop: Arc::default(),
            callback: None,
            print: |text| log::info!("{text}"),
            enable_progress_bar: false,
            trace: None,
            logger,
            callback_metrics: BTreeMap::new(),
            current_epoch: 0,
            global_step: 0,
            resumed: None,
            generator: generator.clone(),
            start: Instant::now(),
        }
    }

    /// Restores module and generator from the checkpoint; `fit` resumes there.
    ///
    /// # Errors
    /// Fails if the checkpoint is another model's, or within an epoch of a module that logs other metrics.
    pub fn resume(&mut self, checkpoint: &Checkpoint, module: &mut SimpleModule) -> Result<(), Error> {
        let epoch = checkpoint.epoch_in_progress()?;
        checkpoint.restore(module, &self.generator)?;
        self.current_epoch = checkpoint.state.epochs_done();
        self.global_step = checkpoint.state.global_step;
        self.resumed = epoch;
        Ok(())
    }

    /// The next epoch's images are in the order of this seed; none is drawn for it.
    pub fn start_epoch(&mut self, sampler_seed: u64) {
        self.resumed = Some(Epoch::start(Some(sampler_seed)));
    }

    /// Trains up to `max_epochs` epochs, and saves the metrics after each.
    ///
    /// # Errors
    /// Fails if the model does not take the data, memory is short or a file can't be written, and with a [`Divergence`].
    pub fn fit(&mut self, module: &mut SimpleModule, data: &SimpleDataModule) -> Result<Ended, Error> {
        if let Some(callback) = &mut self.callback {
            callback.on_fit_start();
        }
        (self.print)(&model_summary::devices(module.vs.device()));
        (self.print)(&model_summary::parameters(&module.model.info()));
        let (mut train_dataloader, mut val_dataloader) = (data.train_dataloader(), data.val_dataloader());
        let batches = self.limit_train_batches.of(train_dataloader.len());
        if batches == 0 {
            return Err(Error::NoBatch);
        }
        if let Some(Epoch { completed, .. }) = self.resumed
            && completed >= batches
        {
            return Err(Error::NoBatchLeft { completed, batches });
        }
        if self.global_step == 0 {
            self.sanity_check(module, &mut val_dataloader)?;
        } else {
            train_dataloader.resume();
            val_dataloader.resume();
            // Drops the rows that were logged after the checkpoint.
            self.logger.save()?;
        }

        let mut observers = self.on_train_start(module, batches);
        while self.current_epoch < self.max_epochs {
            let resumed = self.resumed.take();
            observers.epoch = resumed.unwrap_or_else(|| Epoch::start(train_dataloader.draw()));
            let Epoch { sampler_seed, completed, .. } = observers.epoch;
            for batch in train_dataloader.batches(sampler_seed)?.take(batches).skip(completed) {
                let (images, labels) = batch?;
                self.on_train_batch_start(module, &images, &labels, &mut observers)?;

                let logits = module.forward(&images, true)?;
                let loss = module.loss(&logits, &labels)?;
                self.on_before_backward(&logits, &loss, &mut observers)?;
                let gradients = module.optimizer.gradients(&loss)?;
                module.optimizer.step(&gradients)?;

                self.global_step += 1;
                let step = TrainingStep { labels, logits, loss, gradients };
                self.on_train_batch_end(module, step, &mut observers)?;
                if self.should_stop.load(Ordering::Relaxed) {
                    return self.stop(module, &mut observers);
                }
            }
            let valid = evaluate(module, &mut val_dataloader, usize::MAX)?.compute(module)?;
            let is_out_of_time = self.max_time.is_some_and(|max_time| self.start.elapsed() >= max_time);
            self.on_train_epoch_end(module, valid, is_out_of_time, &mut observers)?;
            if is_out_of_time {
                break;
            }
        }
        self.on_train_end(module, &observers)?;
        if self.current_epoch < self.max_epochs {
            (self.print)(&model_summary::out_of_time(self.start.elapsed()));
            return Ok(Ended::MaxTime);
        }
        (self.print)(&model_summary::stopped(self.max_epochs));
        Ok(Ended::MaxEpochs)
    }

    /// Lightning's sanity check. Its draws are undone, but persistent workers stay.
    fn sanity_check(&self, module: &SimpleModule, val_dataloader: &mut DataLoader) -> Result<(), Error> {
        self.generator.isolate(|| evaluate(module, val_dataloader, NUM_SANITY_VAL_STEPS))?.compute(module)?;
        Ok(())
    }

    /// Saves the metrics and the newest checkpoint: within the epoch if such are wanted, else of the last whole epoch.
    fn stop(&mut self, module: &SimpleModule, observers: &mut Observers) -> Result<Ended, Error> {
        if self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.every_n_train_steps.is_some()) {
            self.save_within_epoch(module, observers)?;
        }
        self.logger.save()?;
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.save_pending()?;
        }
        Ok(Ended::ShouldStop)
    }

    /// Returns loss and accuracy on the test images, and logs them.
    ///
    /// # Errors
    /// Fails if the model does not take the data, memory is short or metrics.csv can't be written.
    pub fn test(&mut self, module: &SimpleModule, data: &SimpleDataModule) -> Result<Metrics, Error> {
        let test = evaluate(module, &mut data.test_dataloader(), usize::MAX)?.compute(module)?;
        let metrics = [("test_loss", test.loss), ("test_accuracy", test.accuracy)];
        self.logger.log_metrics(&metrics, self.current_epoch, self.global_step);
        self.logger.save()?;
        Ok(test)
    }
}

/// A program's own code in a training; `pytorch_lightning.Callback`.
pub trait Callback: Debug + Send {
    /// Called when `fit` starts.
    fn on_fit_start(&mut self) {}
    /// Called after each step, the `global_step`th, counted from 1.
    fn on_train_batch_end(&mut self, global_step: usize) {
        let _ = global_step;
    }
}

/// The reason why `fit` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It trained `max_epochs` epochs.
    MaxEpochs,
    /// `max_time` elapsed.
    MaxTime,
    /// `should_stop` was set. The current epoch is lost, except for the metrics it has logged, unless checkpoints are saved
    /// within epochs.
    ShouldStop,
}

/// The observers that live for one `fit`; the trace and the checkpoints are the trainer's.
struct Observers {
    /// The epoch in progress.
    epoch: Epoch,
    /// The training batches in an epoch.
    steps_per_epoch: usize,
    losses: Losses,
    bar: ProgressBar,
    /// The outputs of the current step's layers, for the trace.
    outputs: Option<LayerOutputs>,
}

/// The tensors of a finished training step.
struct TrainingStep {
    labels: Tensor,
    logits: Tensor,
    loss: Tensor,
    /// In the optimizer's order of parameters, which it leaves unchanged.
    gradients: Vec<Tensor>,
}

/// The hooks of `fit`.
impl Trainer {
    fn on_train_start(&mut self, module: &SimpleModule, steps_per_epoch: usize) -> Observers {
        if let Some(trace) = &mut self.trace {
            trace.start_fit(module.model.info().class_name);
        }
        let deadline = self.max_time.and_then(|max_time| self.start.checked_add(max_time));
        let (wanted, from) = (self.enable_progress_bar, self.global_step);
        let bar = ProgressBar::new(wanted, from, self.max_epochs, steps_per_epoch, deadline);
        Observers { epoch: Epoch::default(), steps_per_epoch, losses: Losses::default(), bar, outputs: None }
    }

    fn on_train_batch_start(
        &mut self,
        module: &SimpleModule,
        images: &Tensor,
        labels: &Tensor,
        observers: &mut Observers,
    ) -> Result<(), Error> {
        if let Some(trace) = &mut self.trace {
            let state = State::of(&module.vs, module.optimizer.as_ref(), &self.generator, self.global_step);
            trace.start_step(self.current_epoch, self.global_step, &state)?;
            trace.record("input", images)?;
            trace.record("target", labels)?;
            observers.outputs = Some(LayerOutputs::record());
        }
        Ok(())
    }

    fn on_before_backward(
        &mut self,
        logits: &Tensor,
        loss: &Tensor,
        observers: &mut Observers,
    ) -> Result<(), Error> {
        if let (Some(trace), Some(outputs)) = (&mut self.trace, observers.outputs.take()) {
            trace.record_forward(outputs, logits, loss)?;
        }
        Ok(())
    }

    /// Every [`log_every_n_steps`](Trainer::log_every_n_steps) steps, reads the steps' metrics and logs the last one's
    /// accuracy. Saves a checkpoint if one is due.
    fn on_train_batch_end(
        &mut self,
        module: &SimpleModule,
        step: TrainingStep,
        observers: &mut Observers,
    ) -> Result<(), Error> {
        if let Some(trace) = &mut self.trace {
            let state = State::of(&module.vs, module.optimizer.as_ref(), &self.generator, self.global_step);
            record_update(trace, module, &step.gradients, &state)?;
        }
        let Observers { epoch, losses, bar, .. } = observers;
        epoch.update(&step.loss, &step.logits, step.labels);
        if self.log_every_n_steps > 0 && self.global_step.is_multiple_of(self.log_every_n_steps) {
            let steps = epoch.metrics.drain()?;
            self.check(losses, &steps, &[], module)?;
            let last = steps[steps.len() - 1];
            self.log(&[("train_accuracy_step", last.accuracy)]);
            bar.train_loss(last.loss);
        }
        bar.step(self.current_epoch);
        if let Some(callback) = &mut self.callback {
            callback.on_train_batch_end(self.global_step);
        }
        if self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_due(self.global_step)) {
            self.save_within_epoch(module, observers)?;
        }
        Ok(())
    }

    /// Saves metrics and checkpoint within an epoch, unless its loss is not finite. After the last step there is nothing
    /// to do: the epoch's end saves them.
    fn save_within_epoch(&mut self, module: &SimpleModule, observers: &mut Observers) -> Result<(), Error> {
        let Observers { epoch, steps_per_epoch, losses, .. } = observers;
        if epoch.completed == *steps_per_epoch {
            return Ok(());
        }
        let steps = epoch.metrics.drain()?;
        self.check(losses, &steps, &[], module)?;
        self.logger.save()?;
        if let (Some(progress), Some(checkpoint)) = (epoch.progress(), &mut self.checkpoint) {
            let state = TrainerState {
                epoch: self.current_epoch,
                global_step: self.global_step,
                metrics_sha256: self.logger.sha256(),
                batch_progress: Some(progress),
                ..TrainerState::default()
            };
            checkpoint.save(module, &self.generator, state)?;
        }
        Ok(())
    }

    /// Logs the epoch, saves metrics and checkpoint, and counts the epoch as finished.
    fn on_train_epoch_end(
        &mut self,
        module: &SimpleModule,
        valid: Metrics,
        is_out_of_time: bool,
        observers: &mut Observers,
    ) -> Result<(), Error> {
        let metrics = &mut observers.epoch.metrics;
        let steps = metrics.drain()?;
        let train = metrics.compute();
        let last_step = steps.last().map(|step| ("train_accuracy_step", step.accuracy));
        self.callback_metrics.extend(last_step);
        self.log(&[("valid_loss", valid.loss), ("valid_accuracy", valid.accuracy)]);
        self.log(&[("train_loss", train.loss), ("train_accuracy_epoch", train.accuracy)]);
        self.check(&mut observers.losses, &steps, &[train.loss, valid.loss], module)?;
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
                ..TrainerState::default()
            };
            checkpoint.epoch_end(module, &self.generator, state, is_end)?;
        }
        observers.bar.epoch_end(self.current_epoch, train, valid);
        Ok(())
    }

    fn on_train_end(&mut self, module: &SimpleModule, observers: &Observers) -> Result<(), Error> {
        if let Some(trace) = &mut self.trace {
            trace.end_fit(&State::of(
                &module.vs,
                module.optimizer.as_ref(),
                &self.generator,
                self.global_step,
            ))?;
        }
        observers.bar.finish();
        Ok(())
    }

    /// Fails if the training has diverged and `terminate_on_nan` is set; saves the metrics first.
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

    /// Logs metrics of the step just taken; Lightning counts steps from 0.
    fn log(&mut self, metrics: &[(&'static str, f32)]) {
        self.callback_metrics.extend(metrics.iter().copied());
        self.logger.log_metrics(metrics, self.current_epoch, self.global_step - 1);
    }
}

/// Records gradients and the state after the step, in the order of `python/islp_mnist/trace.py`.
fn record_update(
    trace: &mut Trace,
    module: &SimpleModule,
    gradients: &[Tensor],
    state: &State,
) -> Result<(), Error> {
    let names = module.optimizer.parameters().into_iter().map(|(name, _)| name);
    let gradients: BTreeMap<&str, &Tensor> = names.zip(gradients).collect();
    // The backward pass computes the last parameter's gradient first.
    for (name, _) in state.parameters.iter().rev() {
        trace.record(&format!("grad.{name}"), gradients[name.as_str()])?;
    }
    Ok(trace.end_step(state)?)
}
