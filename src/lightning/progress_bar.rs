//! The progress bar on stderr: epoch, step, loss, validation accuracy, time left.

use std::cell::Cell;

use indicatif::{ProgressFinish, ProgressStyle};

/// A bar over all steps of a run, or nothing where stderr is no terminal.
#[derive(Debug)]
pub struct ProgressBar {
    bar: indicatif::ProgressBar,
    max_epochs: usize,
    train_loss: Cell<Option<f32>>,
    valid_accuracy: Cell<Option<f32>>,
}

impl ProgressBar {
    /// A bar that begins at `step`.
    pub fn new(wanted: bool, max_epochs: usize, steps_per_epoch: usize, step: usize) -> Self {
        // Draws on stderr, and by itself only where that is a terminal.
        let bar = if wanted {
            indicatif::ProgressBar::new((max_epochs as u64).saturating_mul(steps_per_epoch as u64))
        } else {
            indicatif::ProgressBar::hidden()
        };
        // However training ends.
        let bar = bar.with_finish(ProgressFinish::AndClear);
        let template = "{prefix} {wide_bar} step {pos}/{len}, {msg}{eta} left";
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
        self.bar.set_message(message(self.train_loss.get(), self.valid_accuracy.get()));
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

/// What is known so far, each with a comma behind it.
fn message(train_loss: Option<f32>, valid_accuracy: Option<f32>) -> String {
    let part = |name: &str, value: Option<f32>| match value {
        None => String::new(),
        // A loss that grows beyond all bounds would be of 30 digits and more.
        Some(value) if value.abs() >= 1e6 => format!("{name} {value:.3e}, "),
        Some(value) => format!("{name} {value:.4}, "),
    };
    part("loss", train_loss) + &part("valid_accuracy", valid_accuracy)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn only_what_is_known_is_said_and_no_number_is_long() {
        assert_eq!(message(None, None), "");
        assert_eq!(message(Some(0.25), None), "loss 0.2500, ");
        assert_eq!(message(Some(2e30), Some(0.1)), "loss 2.000e30, valid_accuracy 0.1000, ");
        assert_eq!(message(Some(f32::NAN), None), "loss NaN, ");
    }
}
