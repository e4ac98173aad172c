//! Training that diverges: a loss that is no finite number any more.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use crate::lightning::repr::repr;

/// The loss became NaN or infinite: that of a step, or an epoch's in training or validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// In this epoch, from 0.
    pub epoch: usize,
    /// At this step of the run, from 0; of an epoch's loss the epoch's last.
    pub step: usize,
    /// The learning rate.
    pub lr: f64,
    /// NaN or an infinity.
    pub loss: f32,
    /// The loss of the step before; none if it was the first since the run began or went on.
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

/// What the losses of a run's steps say of it.
#[derive(Debug, Default)]
pub struct Losses {
    /// Step and loss where it was not finite for the first time.
    first_bad: Option<(usize, f32)>,
    /// Step and loss of the last one before that.
    last_good: Option<(usize, f32)>,
}

impl Losses {
    /// Takes in the losses of steps up to the one before `global_step`.
    pub fn update(&mut self, global_step: usize, losses: impl ExactSizeIterator<Item = f32>) {
        for (step, loss) in (global_step - losses.len()..).zip(losses) {
            if !loss.is_finite() {
                self.first_bad.get_or_insert((step, loss));
            } else if self.first_bad.is_none() {
                self.last_good = Some((step, loss));
            }
        }
    }

    /// Step and value of the first loss that was not finite, with the loss of the step before. The losses of an epoch
    /// count after those of its steps.
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
