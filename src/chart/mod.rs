//! Pictures of numbers, as matplotlib draws them, on plotters' `ChartBuilder`.
//!
//! [`Figure`] is the notebook's: accuracy, or another metric, against epoch. [`Lines`], [`Bands`], [`Bars`] and [`Stack`]
//! draw any numbers. Each is a [`Picture`], which becomes a PNG or an SVG.

mod accuracy;
mod axis;
mod legend;
mod lines;
mod metric;
mod page;
mod spread;
mod style;

use std::fmt::Display;
use std::path::PathBuf;

use plotters::drawing::DrawingAreaErrorKind;

pub use accuracy::{Figure, Source, accuracy};
pub use legend::Name;
pub use lines::Lines;
pub use metric::{
    CsvError, Metric, MetricError, Set, epochs, last_value, test_points, train_points, valid_points,
};
pub use page::Picture;
pub use spread::{Bands, Bars, Stack};
use style::MAX_RUNS;

use crate::util::file;

/// Finite (x, y), in the order of the rows.
type Points = Vec<(f64, f64)>;

/// An error of drawing a figure.
///
/// ```
/// use islp_mnist::chart::{self, Error};
///
/// let error = chart::accuracy("no/metrics.csv").unwrap_err();
/// assert!(matches!(error, Error::File(error) if error.is_not_found()));
/// ```
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", path.display())]
    Csv { path: PathBuf, reason: CsvError },
    #[error("{count} runs; a figure has only {MAX_RUNS} colors")]
    TooManyRuns { count: usize },
    #[error("{} and {} would both be {shown} in the legend", names[0], names[1])]
    SameName { names: [String; 2], shown: String },
    #[error("no value is above 0, so a log axis would be empty")]
    NothingAbove0,
    #[error("{label}: the figure's font cannot show {character}")]
    Glyph { label: String, character: char },
    #[error("cannot draw the figure: {0}")]
    Drawing(String),
}

impl Error {
    /// Keeps only the message, since plotters' errors carry the backend's type, and some borrow from it.
    fn drawing(error: impl Display) -> Self {
        Self::Drawing(error.to_string())
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Error {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::drawing(error)
    }
}
