//! What a figure of a run shows.

use std::fmt::{self, Display, Formatter};

use super::series::{CsvError, Points, points};

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

/// A run's validation values of a metric against epoch, from the bytes of its `metrics.csv`.
///
/// ```
/// use islp_mnist::chart::{Metric, valid_points};
///
/// assert_eq!(valid_points(Metric::Loss, b"epoch,valid_loss\n0,1.5\n")?, [(0.0, 1.5)]);
/// # Ok::<(), islp_mnist::chart::CsvError>(())
/// ```
///
/// # Errors
/// No such column, a cell that is no number, or not a single point.
pub fn valid_points(metric: Metric, csv: &[u8]) -> Result<Points, CsvError> {
    let [points] = points(csv, [metric.columns()[1]])?;
    Ok(points.unwrap_or_default())
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
