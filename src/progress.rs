//! The progress bar on stderr: epoch, step, loss, validation accuracy, time left.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar over all steps of a run, or nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    max_epochs: usize,
    train_loss: Cell<Option<f32>>,
    valid_accuracy: Cell<Option<f32>>,
}

impl Progress {
    /// A bar that begins at `step`.
    pub fn new(wanted: bool, max_epochs: usize, steps_per_epoch: usize, step: usize) -> Self {
        // Draws on stderr, and by itself only where that is a terminal.
        let bar = if wanted {
            ProgressBar::new((max_epochs as u64).saturating_mul(steps_per_epoch as u64))
        } else {
            ProgressBar::hidden()
        };
        // However training ends.
        let bar = bar.with_finish(ProgressFinish::AndClear);
        let template = "{prefix} {wide_bar} step {pos}/{len}, {msg}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar.set_position(step as u64);
        Self { bar, max_epochs, train_loss: Cell::new(None), valid_accuracy: Cell::new(None) }
    }

    /// One training step done.
    pub fn step(&self, epoch: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_prefix(format!("epoch {}/{}", epoch + 1, self.max_epochs));
        let shown = |name: &str, value: Option<f32>| value.map(|value| format!("{name} {value:.4}"));
        let loss = shown("loss", self.train_loss.get());
        let accuracy = shown("valid_accuracy", self.valid_accuracy.get());
        self.bar.set_message(loss.into_iter().chain(accuracy).collect::<Vec<_>>().join(", "));
        self.bar.inc(1);
    }

    /// The loss of a step at which it was read: not of every step, as reading it has a GPU stop and wait.
    pub fn train_loss(&self, loss: f32) {
        self.train_loss.set(Some(loss));
    }

    /// One epoch validated.
    pub fn valid_accuracy(&self, accuracy: f32) {
        self.valid_accuracy.set(Some(accuracy));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
