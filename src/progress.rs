//! The progress bar on stderr: epoch, step, loss, validation accuracy, time left.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressStyle};
use tch::Tensor;

/// A bar over all steps of a run, or nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    max_epochs: usize,
    valid_accuracy: Cell<Option<f32>>,
}

impl Progress {
    pub fn new(wanted: bool, max_epochs: usize, steps_per_epoch: usize) -> Self {
        // Draws on stderr, and by itself only where that is a terminal.
        let bar = if wanted {
            ProgressBar::new((max_epochs as u64).saturating_mul(steps_per_epoch as u64))
        } else {
            ProgressBar::hidden()
        };
        let template = "{prefix} {wide_bar} step {pos}/{len}, {msg}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        Self { bar, max_epochs, valid_accuracy: Cell::new(None) }
    }

    /// One training step done.
    pub fn step(&self, epoch: usize, loss: &Tensor) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_prefix(format!("epoch {}/{}", epoch + 1, self.max_epochs));
        let accuracy =
            self.valid_accuracy.get().map_or(String::new(), |value| format!(", valid_accuracy {value:.4}"));
        self.bar.set_message(format!("loss {:.4}{accuracy}", loss.double_value(&[])));
        self.bar.inc(1);
    }

    /// One epoch validated.
    pub fn validated(&self, accuracy: f32) {
        self.valid_accuracy.set(Some(accuracy));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
