//! The metrics that a figure can show, and their points in a `metrics.csv`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use csv::StringRecord;

use super::Points;
use crate::util::text::excerpt;

/// The quantity on the y axis.
///
/// Parses from `accuracy`, `loss`, or one or two column names, separated by a comma. A column with "train" in its name
/// belongs to training, one with "val" to validation; if the names don't tell, the first belongs to training.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Picture};
///
/// let figure = Figure::from_csv(Metric::Loss, b"epoch,train_loss\n0,1.5\n").unwrap();
/// assert!(figure.to_svg().unwrap().contains("Loss"));
///
/// let (training, validation) = (Some("train_mae_epoch".into()), Some("val_mae".into()));
/// assert_eq!("val_mae,train_mae_epoch".parse(), Ok(Metric::Columns { training, validation }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `train_accuracy_epoch` and `valid_accuracy`, or other names that Lightning's users often give them.
    Accuracy,
    /// `train_loss` and `valid_loss`, or other names that Lightning's users often give them.
    Loss,
    /// The columns of these names.
    Columns {
        /// Drawn as dots.
        training: Option<String>,
        /// Drawn as plus signs.
        validation: Option<String>,
    },
}

/// One of a run's two series.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Picture, Set};
///
/// let mut figure = Figure::from_csv(Metric::Loss, b"epoch,train_loss,valid_loss\n0,1.5,\n0,,1.2\n").unwrap();
/// assert!(figure.keep(Set::Validation));
/// assert!(!figure.to_svg().unwrap().contains("Training"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The training images.
    Training,
    /// The held-out images.
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

/// The reason why a text is not a [`Metric`].
///
/// ```
/// use islp_mnist::chart::{Metric, MetricError};
///
/// assert_eq!("mae,rmse,loss".parse::<Metric>(), Err(MetricError::TooMany(3)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum MetricError {
    #[error("a column's name is empty")]
    Empty,
    #[error("{0} is named twice")]
    Twice(String),
    #[error("{0} columns; a figure shows one or two")]
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

/// Returns the set that a column's name mentions.
fn set_in(column: &str) -> Option<Set> {
    let column = column.to_lowercase();
    if column.contains("train") {
        Some(Set::Training)
    } else {
        column.contains("val").then_some(Set::Validation)
    }
}

/// Splits a column's name into its set and the rest: `train_mae_epoch` into training and `mae`.
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
    /// The candidates for the columns of training and validation; the first that a table has is used. ISLP's names come
    /// first, Keras's and those with a slash last.
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

    /// The metrics of a table by epoch that are neither accuracy nor loss, each with its columns of training and validation.
    ///
    /// ```
    /// use islp_mnist::chart::Metric;
    ///
    /// let others = Metric::others(b"epoch,step,train_mae_epoch,train_mae_step,valid_mae,valid_loss\n");
    /// assert_eq!(others, ["train_mae_epoch,valid_mae".parse()?]);
    /// # Ok::<(), islp_mnist::chart::MetricError>(())
    /// ```
    pub fn others(csv: &[u8]) -> Vec<Self> {
        let mut reader = csv::Reader::from_reader(csv);
        let Ok(header) = reader.headers() else { return vec![] };
        let known = [Self::Accuracy, Self::Loss];
        let known: Vec<&str> = known.iter().flat_map(|metric| metric.columns().concat()).collect();
        let is_other = |column: &&str| {
            let is_of_epochs = !["", "epoch", "step"].contains(column) && !column.ends_with("_step");
            is_of_epochs && !column.starts_with("test_") && !known.contains(column)
        };
        let mut metrics: Vec<(&str, [Option<String>; 2])> = vec![];
        for column in header.iter().filter(is_other) {
            let (set, name) = parts(column);
            let place = usize::from(set == Some(Set::Validation));
            match metrics.iter_mut().find(|(other, columns)| *other == name && columns[place].is_none()) {
                Some((_, columns)) => columns[place] = Some(column.into()),
                None => {
                    let mut columns = [None, None];
                    columns[place] = Some(column.into());
                    metrics.push((name, columns));
                }
            }
        }
        metrics
            .into_iter()
            .map(|(_, [training, validation])| Self::Columns { training, validation })
            .collect()
    }

    /// True if a table must have all of [`Self::columns`], since a person named them.
    pub(super) fn is_strict(&self) -> bool {
        matches!(self, Self::Columns { .. })
    }

    /// The name of the y axis, and the legend's names of training and validation.
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

/// Returns a run's validation values against epoch, from the bytes of its `metrics.csv`; none for a metric without a
/// validation column.
///
/// ```
/// use islp_mnist::chart::{Metric, valid_points};
///
/// assert_eq!(valid_points(Metric::Loss, b"epoch,valid_loss\n0,1.5\n")?, [(0.0, 1.5)]);
/// # Ok::<(), islp_mnist::chart::CsvError>(())
/// ```
///
/// # Errors
/// Fails if there is no such column, a cell is not a number, or there is no point.
pub fn valid_points(metric: Metric, csv: &[u8]) -> Result<Points, CsvError> {
    let [_, validation] = metric.columns();
    points_of(validation, metric.is_strict(), csv)
}

/// The same for training.
///
/// # Errors
/// Fails like [`valid_points`].
pub fn train_points(metric: Metric, csv: &[u8]) -> Result<Points, CsvError> {
    let [training, _] = metric.columns();
    points_of(training, metric.is_strict(), csv)
}

/// The last of a column's points; none if there is none, or the table lacks the column.
pub fn last_value(points: Result<Points, CsvError>) -> Option<f64> {
    points.ok()?.last().map(|point| point.1)
}

/// The epochs of a `metrics.csv` with validation; none if it has none.
pub fn epochs(csv: &[u8]) -> Option<usize> {
    let points = valid_points(Metric::Accuracy, csv).or_else(|_| valid_points(Metric::Loss, csv)).ok()?;
    // No training has more epochs.
    let possible = points.iter().map(|point| point.0).filter(|epoch| (0.0..1e9).contains(epoch));
    possible.map(|epoch| epoch as usize + 1).max()
}

fn points_of(names: Vec<&str>, must_have_all: bool, csv: &[u8]) -> Result<Points, CsvError> {
    if names.is_empty() {
        return Ok(vec![]);
    }
    let [points] = points(csv, [names], must_have_all)?;
    Ok(points.unwrap_or_default())
}

/// Returns a run's test values against epoch, from the bytes of its `metrics.csv`; none for a metric that is neither
/// accuracy nor loss.
///
/// ```
/// use islp_mnist::chart::{Metric, test_points};
///
/// assert_eq!(test_points(Metric::Accuracy, b"epoch,test_acc\n30,0.96\n")?, [(30.0, 0.96)]);
/// # Ok::<(), islp_mnist::chart::CsvError>(())
/// ```
///
/// # Errors
/// Fails like [`valid_points`].
pub fn test_points(metric: Metric, csv: &[u8]) -> Result<Points, CsvError> {
    let names = match metric {
        Metric::Accuracy => {
            vec![
                "test_accuracy",
                "test_acc",
                "test_accuracy_epoch",
                "test_acc_epoch",
                "test/accuracy",
                "test/acc",
            ]
        }
        Metric::Loss => vec!["test_loss", "test_loss_epoch", "test/loss"],
        Metric::Columns { .. } => vec![],
    };
    points_of(names, true, csv)
}

/// The reason why a `metrics.csv` gives no points.
///
/// ```
/// use islp_mnist::chart::{CsvError, Figure, Metric};
///
/// let csv = b"epoch,train_loss,valid_loss\n0,1.5,\n0,,x\n";
/// let error = Figure::from_csv(Metric::Loss, csv).unwrap_err();
/// assert!(matches!(error, CsvError::NotANumber { line: 3, .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum CsvError {
    #[error(transparent)]
    Malformed(#[from] csv::Error),
    #[error("no column {names}; its columns are {columns}")]
    NoColumn { names: String, columns: String },
    #[error("line {line}: the header is repeated, as in the log of a resumed run")]
    HeaderAgain { line: u64 },
    #[error("line {line}: {column} is \"{cell}\", not a number")]
    NotANumber { line: u64, column: String, cell: String },
    #[error("no row has both an epoch and {names}")]
    NoPoint { names: String },
}

/// Cells without a value, as R, pandas, SQL or Python write them. `nan` is a number.
const MISSING: [&str; 5] = ["NA", "N/A", "<NA>", "null", "None"];

/// For each list of names, returns the values against `epoch` of the first column that the table has. A list without a
/// column gives none, an error under `must_have_all`. A cell that is missing or not finite gives no point.
pub fn points<const N: usize>(
    csv: &[u8],
    wanted: [Vec<&str>; N],
    must_have_all: bool,
) -> Result<[Option<Points>; N], CsvError> {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers()?.clone();
    let index = |name: &&str| header.iter().position(|column| column == *name);
    let no_column =
        |names: &[&str]| CsvError::NoColumn { names: names.join(" or "), columns: listed(&header) };
    let epoch = index(&"epoch").ok_or_else(|| no_column(&["epoch"]))?;
    let indices = wanted.each_ref().map(|names| names.iter().find_map(index));
    let missing = wanted.iter().zip(indices).filter(|(_, index)| index.is_none());
    let missing: Vec<&str> = missing.filter_map(|(names, _)| names.first().copied()).collect();
    if indices.iter().all(Option::is_none) || must_have_all && !missing.is_empty() {
        return Err(no_column(&missing));
    }

    let mut points = indices.map(|column| column.map(|_| vec![]));
    let mut record = StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        // Before `read?`, since the csv crate refuses a header with more columns than the first.
        if is_header(&record) {
            return Err(CsvError::HeaderAgain { line: line(csv, &record) });
        }
        if !read? {
            break;
        }
        let x = number(csv, &header, &record, epoch)?;
        for (points, column) in points.iter_mut().zip(indices) {
            if let (Some(points), Some(column)) = (points, column) {
                let y = number(csv, &header, &record, column)?;
                if x.is_finite() && y.is_finite() {
                    points.push((x, y));
                }
            }
        }
    }
    if points.iter().flatten().all(Vec::is_empty) {
        let names: Vec<_> = indices.iter().flatten().map(|&column| &header[column]).collect();
        return Err(CsvError::NoPoint { names: names.join(" or ") });
    }
    Ok(points)
}

/// True if a row is a header: one cell is `epoch` and none is a number.
fn is_header(record: &StringRecord) -> bool {
    let mut cells = record.iter().map(|cell| cell.trim_start_matches('\u{feff}').trim());
    cells.clone().any(|cell| cell == "epoch") && cells.all(|cell| cell.parse::<f64>().is_err())
}

/// A row's line, counted from 1.
fn line(csv: &[u8], record: &StringRecord) -> u64 {
    let Some(position) = record.position() else { return 0 };
    // The csv crate counts blank lines, and the LF of a CRLF, as part of the next row.
    let rest = csv.get(position.byte() as usize..).unwrap_or_default();
    let before = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + before.filter(|&&byte| byte == b'\n').count() as u64
}

/// Returns a cell's number, NaN if it is missing.
fn number(csv: &[u8], header: &StringRecord, record: &StringRecord, column: usize) -> Result<f64, CsvError> {
    let cell = record[column].trim();
    if cell.is_empty() || MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(cell)) {
        return Ok(f64::NAN);
    }
    cell.parse().map_err(|_| CsvError::NotANumber {
        line: line(csv, record),
        column: header[column].to_owned(),
        cell: excerpt(cell.as_bytes(), 0),
    })
}

/// Most columns that an error lists.
const MAX_LISTED: usize = 20;

/// "epoch, step, loss", safe to print on a terminal.
fn listed(header: &StringRecord) -> String {
    let shown = header.iter().take(MAX_LISTED).map(|column| match excerpt(column.as_bytes(), 0) {
        column if column.trim().is_empty() => format!("\"{column}\""),
        column => column,
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    match header.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
