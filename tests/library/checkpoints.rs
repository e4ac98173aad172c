//! Checkpoints within an epoch: a fit that is stopped after any step, and resumed, leaves the bytes of one that was not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{
    BatchProgress, Checkpoint, CsvLogger, Ended, Error, ModelCheckpoint, Trainer, TrainerState,
};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torch::nn::{Layer, LayerInfo};
use islp_mnist::torchvision;
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Tensor, no_grad};
use tempfile::tempdir;

use crate::common::fashion_mnist;

/// Batches of one image; the run's 50th step, which is logged, is within the second epoch.
const BATCHES: usize = 30;
const EPOCHS: usize = 2;

/// A model that has its trainer stop after a step.
#[derive(Debug)]
struct Stopping {
    model: Box<dyn Layer>,
    /// The steps that are left until it does.
    left: AtomicUsize,
    should_stop: Arc<AtomicBool>,
}

impl ModuleT for Stopping {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        if train && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.should_stop.store(true, Ordering::Relaxed);
        }
        self.model.forward_t(xs, train)
    }
}

impl Layer for Stopping {
    fn info(&self) -> LayerInfo {
        self.model.info()
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    model: Model,
    num_workers: usize,
    /// Steps between two checkpoints.
    every: Option<usize>,
    batches: usize,
}

/// Trains, or resumes the fit in `log_dir`, until its end or until it has taken this number of steps more.
fn fit(case: Case, log_dir: &Path, steps: usize) -> Result<Ended, Error> {
    // The tests run at the same time, and their threads would wait for each other.
    tch::set_num_threads(1);
    let checkpoint = Checkpoint::last(log_dir)?;
    // Everything must come from the checkpoint.
    let generator = Generator::new(if checkpoint.is_some() { 999 } else { 3 });
    let mnist = torchvision::load(fashion_mnist(), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, case.num_workers, 1, &generator).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let model = case.model.build(&vs.root(), &generator).unwrap();
    let (left, should_stop) = (AtomicUsize::new(steps), Arc::default());
    let model = Stopping { model, left, should_stop: Arc::clone(&should_stop) };
    let mut module = SimpleModule::classification(Box::new(model), vs, 0.001).unwrap();
    let logger = CsvLogger::resume(log_dir, checkpoint.as_ref().map(|checkpoint| &checkpoint.state))?;
    let mut trainer = Trainer::new(EPOCHS, logger, &generator);
    trainer.limit_train_batches = case.batches.to_string().parse().unwrap();
    trainer.should_stop = should_stop;
    let mut checkpoints = ModelCheckpoint::new(log_dir, 1, &())?;
    checkpoints.every_n_train_steps = case.every;
    trainer.checkpoint = Some(checkpoints);
    if let Some(checkpoint) = checkpoint {
        trainer.resume(&checkpoint, &mut module)?;
    }
    trainer.fit(&mut module, &data)
}

/// Everything that a fit leaves.
fn files(log_dir: &Path) -> [Vec<u8>; 3] {
    ["metrics.csv", "checkpoints/last.safetensors", "checkpoints/best.safetensors"]
        .map(|file| fs::read(log_dir.join(file)).unwrap())
}

fn folder(parent: &Path, name: &str) -> PathBuf {
    let folder = parent.join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

fn last(log_dir: &Path) -> TrainerState {
    Checkpoint::last(log_dir).unwrap().unwrap().state
}

#[test]
fn a_fit_that_is_stopped_after_any_step_resumes_to_the_same_bytes() {
    let parent = tempdir().unwrap();
    for (model, num_workers) in [(Model::Mlp, 4), (Model::Mlp, 0), (Model::Mlr, 4), (Model::Mlr, 0)] {
        let case = Case { model, num_workers, every: Some(1_000_000), batches: BATCHES };
        let whole = folder(parent.path(), &format!("{model:?} {num_workers}"));
        assert_eq!(fit(Case { every: None, ..case }, &whole, usize::MAX).unwrap(), Ended::MaxEpochs);
        for stop in [1, 2, 29, 30, 31, 49, 50, 51, 59] {
            let what = format!("{case:?}, stopped after {stop} steps");
            let log_dir = folder(&whole, &stop.to_string());
            assert_eq!(fit(case, &log_dir, stop).unwrap(), Ended::ShouldStop, "{what}");
            if stop == BATCHES {
                // The epoch was not validated, so nothing is saved.
                assert!(Checkpoint::last(&log_dir).unwrap().is_none(), "{what}");
            } else {
                let state = last(&log_dir);
                let completed = state.batch_progress.as_ref().map(|progress| progress.completed);
                assert_eq!((state.global_step, completed), (stop, Some(stop % BATCHES)), "{what}");
                assert_eq!(state.epochs_done(), stop / BATCHES, "{what}");
            }
            assert_eq!(fit(case, &log_dir, usize::MAX).unwrap(), Ended::MaxEpochs, "{what}");
            assert!(files(&log_dir) == files(&whole), "{what}");
        }
    }
}

#[test]
fn checkpoints_every_n_steps_change_no_byte_and_need_no_stop() {
    let parent = tempdir().unwrap();
    let case = Case { model: Model::Mlp, num_workers: 4, every: None, batches: BATCHES };
    let whole = folder(parent.path(), "whole");
    fit(case, &whole, usize::MAX).unwrap();
    for every in [1, 7, 30, 60] {
        let log_dir = folder(parent.path(), &every.to_string());
        fit(Case { every: Some(every), ..case }, &log_dir, usize::MAX).unwrap();
        assert!(files(&log_dir) == files(&whole), "every {every} steps");
    }
}

#[test]
fn a_checkpoint_within_an_epoch_is_never_the_best_nor_taken_for_an_epoch() {
    let parent = tempdir().unwrap();
    let case = Case { model: Model::Mlr, num_workers: 4, every: Some(10), batches: BATCHES };
    assert_eq!(fit(case, parent.path(), 15).unwrap(), Ended::ShouldStop);
    assert!(!parent.path().join("checkpoints/best.safetensors").exists());
    // What a fit can't resume within is refused.
    let error = fit(Case { batches: 15, ..case }, parent.path(), usize::MAX).unwrap_err().to_string();
    assert!(
        error.starts_with("the checkpoint is after 15 batches of an epoch, which now has only 15; "),
        "{error}"
    );
    let progress: BatchProgress = last(parent.path()).batch_progress.unwrap();
    assert_eq!(progress.results["training_step.train_loss"].cumulated_batch_size, Some(15));
    // After an epoch's last step only its end is saved, so this stop leaves the checkpoint of step 20.
    assert_eq!(fit(case, parent.path(), 15).unwrap(), Ended::ShouldStop);
    assert_eq!(last(parent.path()).global_step, 20);
}

#[test]
fn weights_that_are_nan_replace_no_checkpoint_within_an_epoch() {
    let parent = tempdir().unwrap();
    let case = Case { model: Model::Mlr, num_workers: 4, every: Some(10), batches: BATCHES };
    assert_eq!(fit(case, parent.path(), 15).unwrap(), Ended::ShouldStop);
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
    let model = Model::Mlr.build(&vs.root(), &generator).unwrap();
    let module = SimpleModule::classification(model, vs, 0.0).unwrap();
    let _ = no_grad(|| module.state_dict()["linear.1.bias"].get(3).fill_(f64::NAN));
    let state = TrainerState { global_step: 20, ..last(parent.path()) };
    ModelCheckpoint::new(parent.path(), 1, &()).unwrap().save(&module, &generator, state).unwrap();
    assert_eq!(last(parent.path()).global_step, 15);
}
