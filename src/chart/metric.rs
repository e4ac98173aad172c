//! What a figure of a run shows.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::series::{CsvError, Points, points};

/// What the y axis shows.
///
/// It is parsed from `accuracy`, `loss`, or the names of one or two columns, separated by a comma. A column with
/// "train" in its name is of training, one with "val" of validation; where the names don't say it, the first is of
/// training.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric};
///
/// let figure = Figure::from_csv(Metric::Loss, b"epoch,train_loss\n0,1.5\n").unwrap();
/// assert!(figure.to_svg().unwrap().contains("Loss"));
///
/// let (training, validation) = (Some("train_mae_epoch".into()), Some("val_mae".into()));
/// assert_eq!("val_mae,train_mae_epoch".parse(), Ok(Metric::Columns { training, validation }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `train_accuracy_epoch` and `valid_accuracy`, or what else Lightning's users often call them.
    Accuracy,
    /// `train_loss` and `valid_loss`, or what else Lightning's users often call them.
    Loss,
    /// The columns of these names.
    Columns {
        /// What is drawn as dots.
        training: Option<String>,
        /// What is drawn as plus signs.
        validation: Option<String>,
    },
}

/// Why a text names no [`Metric`].
///
/// ```
/// use islp_mnist::chart::{Metric, MetricError};
///
/// assert_eq!("mae,rmse,loss".parse::<Metric>(), Err(MetricError::TooMany(3)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum MetricError {
    #[error("a column's name is empty")]
    Empty,
    #[error("{0} is named twice")]
    Twice(String),
    #[error("{0} columns, and a figure shows one or two")]
    TooMany(usize),
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, MetricError> {
        match text {
            "accuracy" => return Ok(Self::Accuracy),
            "loss" => return Ok(Self::Loss),
            _ => {}
        }
        let columns: Vec<&str> = text.split(',').map(str::trim).collect();
        if columns.contains(&"") {
            return Err(MetricError::Empty);
        }
        let (first, second) = match columns[..] {
            [first] => (first, None),
            [first, second] if first == second => return Err(MetricError::Twice(first.to_owned())),
            [first, second] => (first, Some(second)),
            _ => return Err(MetricError::TooMany(columns.len())),
        };
        let is_reversed = match (set_in(first), second.and_then(set_in)) {
            (first, second) if first == second => false,
            (first, second) => first == Some(Set::Validation) || second == Some(Set::Training),
        };
        let (first, second) = (Some(first.to_owned()), second.map(str::to_owned));
        let [training, validation] = if is_reversed { [second, first] } else { [first, second] };
        Ok(Self::Columns { training, validation })
    }
}

/// Which of the two a column's name says.
fn set_in(column: &str) -> Option<Set> {
    let column = column.to_lowercase();
    if column.contains("train") {
        Some(Set::Training)
    } else {
        column.contains("val").then_some(Set::Validation)
    }
}

/// The set that a column's name begins with, and what else it says: `train_mae_epoch` is of training, and is `mae`.
fn parts(column: &str) -> (Option<Set>, &str) {
    let prefixes = [
        ("train_", Set::Training),
        ("train/", Set::Training),
        ("valid_", Set::Validation),
        ("val_", Set::Validation),
        ("validation_", Set::Validation),
        ("val/", Set::Validation),
    ];
    let part = prefixes.iter().find_map(|(prefix, set)| Some((Some(*set), column.strip_prefix(prefix)?)));
    let (set, rest) = part.unwrap_or((None, column));
    match rest.strip_suffix("_epoch").unwrap_or(rest) {
        "" => (None, column),
        rest => (set, rest),
    }
}

impl Metric {
    /// The columns of training and validation, of each the first that a table has. ISLP's names are the first, Keras's and
    /// those with a slash the last.
    pub(super) fn columns(&self) -> [Vec<&str>; 2] {
        match self {
            Self::Accuracy => [
                vec![
                    "train_accuracy_epoch",
                    "train_accuracy",
                    "train_acc_epoch",
                    "train_acc",
                    "train/accuracy",
                    "train/acc",
                    "accuracy",
                    "acc",
                ],
                vec![
                    "valid_accuracy",
                    "val_accuracy",
                    "valid_acc",
                    "val_acc",
                    "valid_accuracy_epoch",
                    "val_accuracy_epoch",
                    "valid_acc_epoch",
                    "val_acc_epoch",
                    "validation_accuracy",
                    "val/accuracy",
                    "val/acc",
                ],
            ],
            Self::Loss => [
                vec!["train_loss", "train_loss_epoch", "train/loss", "loss"],
                vec![
                    "valid_loss",
                    "val_loss",
                    "valid_loss_epoch",
                    "val_loss_epoch",
                    "validation_loss",
                    "val/loss",
                ],
            ],
            Self::Columns { training, validation } => {
                [training, validation].map(|column| column.as_deref().into_iter().collect())
            }
        }
    }

    /// Whether a table must have all of [`Self::columns`]: those that a person named.
    pub(super) fn is_strict(&self) -> bool {
        matches!(self, Self::Columns { .. })
    }

    /// What the y axis is called, and what the legend calls training and validation.
    pub(super) fn names(&self) -> (String, [String; 2]) {
        let sets = ["Training", "Validation"].map(str::to_owned);
        match self {
            Self::Accuracy => ("Accuracy".into(), sets),
            Self::Loss => ("Loss".into(), sets),
            Self::Columns { training, validation } => {
                let columns = [training, validation].map(|column| column.as_deref().unwrap_or_default());
                let named = [Set::Training, Set::Validation].into_iter().zip(columns);
                let named: Vec<(Set, &str)> = named.filter(|(_, column)| !column.is_empty()).collect();
                let mut rests = named.iter().map(|(_, column)| parts(column).1);
                let first = rests.next().unwrap_or_default();
                if rests.any(|rest| rest != first) {
                    let both = columns.map(str::to_owned);
                    return (both.join(", "), both);
                }
                let says_set = named.iter().all(|(set, column)| parts(column).0 == Some(*set));
                (first.to_owned(), if says_set { sets } else { columns.map(str::to_owned) })
            }
        }
    }
}

/// A run's validation values of a metric against epoch, from the bytes of its `metrics.csv`; none of a metric without a
/// column of validation.
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
    let [_, validation] = metric.columns();
    if validation.is_empty() {
        return Ok(vec![]);
    }
    let [points] = points(csv, [validation], metric.is_strict())?;
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
