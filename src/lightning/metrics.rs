//! The metrics of a run: losses that are NaN or infinite, and numbers as Python writes them.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

/// Divergence: the loss of a step, or an epoch's training or validation loss, became NaN or infinite.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The step of the run, from 0; for an epoch's loss the epoch's last step.
    pub step: usize,
    /// The learning rate.
    pub lr: f64,
    /// NaN or an infinity.
    pub loss: f32,
    /// The loss of the step before; none if this was the first step since the run started or resumed.
    pub last_finite_loss: Option<f32>,
    /// The run's best checkpoint, if it has one.
    pub best: Option<PathBuf>,
}

impl Display for Divergence {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { epoch, step, lr, loss, last_finite_loss, best } = self;
        write!(f, "the training diverged: in epoch {epoch} at step {step} the loss became {}", repr(*loss))?;
        if let Some(loss) = last_finite_loss {
            write!(f, " after {}", repr(*loss))?;
        }
        write!(f, ", with a learning rate of {}", repr(*lr))?;
        best.as_ref().map_or(Ok(()), |best| write!(f, "; the best checkpoint is {}", best.display()))
    }
}

impl std::error::Error for Divergence {}

/// Finds the first loss of a run that is not finite.
#[derive(Debug, Default)]
pub struct Losses {
    /// Step and value of the first loss that is not finite.
    first_bad: Option<(usize, f32)>,
    /// Step and value of the last loss before it.
    last_good: Option<(usize, f32)>,
}

impl Losses {
    /// Adds the losses of the last steps before `global_step`.
    pub fn update(&mut self, global_step: usize, losses: impl ExactSizeIterator<Item = f32>) {
        for (step, loss) in (global_step - losses.len()..).zip(losses) {
            if !loss.is_finite() {
                self.first_bad.get_or_insert((step, loss));
            } else if self.first_bad.is_none() {
                self.last_good = Some((step, loss));
            }
        }
    }

    /// Step and value of the first loss that is not finite, and the loss of the step before. An epoch's losses count
    /// after those of its steps.
    pub fn divergence(&self, epoch_losses: &[f32]) -> Option<(usize, f32, Option<f32>)> {
        let (last_step, last_loss) = self.last_good.unzip();
        let of_epoch = || {
            let loss = epoch_losses.iter().find(|loss| !loss.is_finite())?;
            Some((last_step.unwrap_or(0), *loss))
        };
        let (step, loss) = self.first_bad.or_else(of_epoch)?;
        Some((step, loss, last_loss))
    }
}

/// Python's `repr(float(value))`, for an f32 after widening: the shortest digits that parse to the same f64, in exponent
/// form below 1e-4 and from 1e16.
pub fn repr(value: impl Into<f64>) -> String {
    let value = value.into();
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    // Rust's shortest form has as many digits as Python's, but may pick the other of two equally near numbers, where
    // Python picks the even one. Formatting with that precision rounds as Python does.
    let shortest = format!("{value:e}");
    let decimals =
        shortest.split('e').next().unwrap_or_default().chars().filter(char::is_ascii_digit).count() - 1;
    let scientific = format!("{value:.decimals$e}");
    let (digits, exponent) = scientific.split_once('e').expect("Rust's exponent form has an e");
    let exponent: i32 = exponent.parse().expect("Rust's exponent is a number");
    if (-4..16).contains(&exponent) {
        let decimals = (decimals as i32 - exponent).max(1) as usize;
        return format!("{value:.decimals$}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A metric for people to read: Python's `f"{value:.4f}"`, or `f"{value:.3e}"` from 1e6, because a diverging loss can have
/// 30 digits and more.
pub fn short(value: f32) -> String {
    if !value.is_finite() {
        return repr(value);
    }
    if value.abs() < 1e6 {
        return format!("{value:.4}");
    }
    let scientific = format!("{value:.3e}");
    let (digits, exponent) = scientific.split_once('e').expect("Rust's exponent form has an e");
    format!("{digits}e+{exponent:0>2}")
}
