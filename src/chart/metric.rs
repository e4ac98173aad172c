//! What a figure of a run shows.

use std::fmt::{self, Display, Formatter};

/// What the y axis shows.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric};
///
/// let figure = Figure::from_csv(Metric::Loss, b"epoch,train_loss\n0,1.5\n").unwrap();
/// assert!(figure.to_svg().unwrap().contains("Loss"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `train_accuracy_epoch` and `valid_accuracy`.
    Accuracy,
    /// `train_loss` and `valid_loss`.
    Loss,
}

impl Metric {
    /// The columns of training and validation.
    pub(super) fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Accuracy => ["train_accuracy_epoch", "valid_accuracy"],
            Self::Loss => ["train_loss", "valid_loss"],
        }
    }
}

/// Which of a run's two series.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Set};
///
/// let mut figure = Figure::from_csv(Metric::Loss, b"epoch,train_loss,valid_loss\n0,1.5,\n0,,1.2\n").unwrap();
/// assert!(figure.keep(Set::Validation));
/// assert!(!figure.to_svg().unwrap().contains("Training"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The training images.
    Training,
    /// The images held back.
    Validation,
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Validation => "validation",
        })
    }
}
