//! Pictures out of numbers, as matplotlib draws them, on plotters' `ChartBuilder`.
//!
//! [`Figure`] is the notebook's: accuracy, or another metric, against epoch. What any other chart needs as well is
//! apart from it: a page that becomes a PNG or an SVG, matplotlib's limits and ticks of an axis, a pair of such axes,
//! and a legend.

mod accuracy;
mod axes;
mod axis;
mod band;
mod bars;
mod legend;
mod lines;
mod metric;
mod names;
mod page;
mod series;
mod stack;
mod style;

use std::fmt::Display;
use std::path::PathBuf;

use plotters::drawing::DrawingAreaErrorKind;

pub use accuracy::{Figure, accuracy, share_limits};
pub use band::Bands;
pub use bars::Bars;
pub use lines::Lines;
pub use metric::{Metric, MetricError, Set, valid_points};
pub use names::{Name, Source};
pub use series::CsvError;
pub use stack::Stack;
use style::MAX_RUNS;

use crate::util::file;

/// Why there is no figure.
///
/// ```
/// use islp_mnist::chart::{self, Error};
///
/// let error = chart::accuracy("no/metrics.csv".as_ref()).unwrap_err();
/// assert!(matches!(error, Error::File(error) if error.is_not_found()));
/// ```
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", path.display())]
    Csv { path: PathBuf, reason: CsvError },
    #[error("{count} runs; a figure has colors for {MAX_RUNS} at most")]
    TooManyRuns { count: usize },
    #[error("{} and {} would both be {shown} in the legend", names[0], names[1])]
    SameName { names: [String; 2], shown: String },
    #[error("no value is above 0, and a log axis shows only those")]
    NothingAbove0,
    #[error("{label}: the figure's font has no {character}, or could not set it right")]
    Glyph { label: String, character: char },
    #[error("cannot draw the figure: {0}")]
    Drawing(String),
}

impl Error {
    /// For `map_err`: plotters' errors carry the type of what they draw on, and some borrow from it.
    fn drawing(error: impl Display) -> Self {
        Self::Drawing(error.to_string())
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Error {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::drawing(error)
    }
}
