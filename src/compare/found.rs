//! What was found in one file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::Kind;
use super::metrics::MetricsDifference;
use super::tensors::{TensorDifference, TensorReport};
use super::text::{Close, TextDifference};
use super::trace::TraceReport;
use super::verdict::Verdict;
use super::{Error, Options, count, differ, metrics, tensors, text};
use crate::util::file;
use crate::util::text::shown;

#[derive(Debug, Serialize)]
pub struct FileReport {
    pub name: String,
    pub verdict: Verdict,
    /// Why it was this file, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(flatten)]
    pub found: Found,
    /// The reference's file and the candidate's, by path below their folders.
    #[serde(skip)]
    pub paths: [PathBuf; 2],
}

/// What was found in a file of a kind.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Found {
    Incomparable {
        reason: String,
        /// Lightning's checkpoint that holds the weights which are missing here.
        #[serde(skip_serializing_if = "Option::is_none")]
        pickle: Option<String>,
    },
    Metrics {
        rows: usize,
        difference: Option<Box<MetricsDifference>>,
        first_line: Option<TextDifference>,
    },
    Tensors {
        is_other_header: bool,
        tensors: Vec<TensorReport>,
    },
    Text {
        lines: usize,
        close: Option<Close>,
        first_line: Option<TextDifference>,
    },
    Trace(Box<TraceReport>),
}

impl FileReport {
    fn new(name: &str, found: Found) -> FileReport {
        let verdict = found.verdict();
        FileReport { name: shown(name), verdict, note: None, found, paths: Default::default() }
    }

    /// Without the states of optimizer and generator that a checkpoint holds.
    pub fn without_states(mut self) -> FileReport {
        if let Found::Tensors { tensors, .. } = &mut self.found {
            tensors.retain(|tensor| !tensor.is_state);
            self.verdict = self.found.verdict();
        }
        self
    }

    pub fn incomparable(name: &str, reason: &str) -> FileReport {
        FileReport::incomparable_beside(name, reason, None)
    }

    /// Of a file that only one side has; the other's weights may lie in a pickle.
    pub fn incomparable_beside(name: &str, reason: &str, pickle: Option<PathBuf>) -> FileReport {
        let pickle = pickle.map(|path| shown(&path.to_string_lossy()));
        let found = Found::Incomparable { reason: shown(reason), pickle };
        FileReport::new(name, found)
    }

    pub fn of_files(
        kind: Kind,
        name: &str,
        reference: &Path,
        candidate: &Path,
        options: &Options,
    ) -> FileReport {
        let Some(limit) = kind.limit() else {
            return FileReport::of(name, Found::of_traces(TraceReport::of_files(reference, candidate)));
        };
        let [left, right] = [reference, candidate].map(|path| Ok(file::read(path, limit)?));
        match both(left, right) {
            Ok((left, right)) => {
                FileReport::of_contents(kind, name, (reference, &left), (candidate, &right), options)
            }
            Err(reason) => FileReport::incomparable(name, &reason),
        }
    }

    /// Of two files' contents; an error names the file.
    pub fn of_contents(
        kind: Kind,
        name: &str,
        reference: (&Path, &[u8]),
        candidate: (&Path, &[u8]),
        options: &Options,
    ) -> FileReport {
        let found = match kind {
            Kind::Metrics => both(not_empty(reference), not_empty(candidate))
                .map(|_| Found::of_metrics(reference.1, candidate.1, options)),
            Kind::Tensors => {
                let is_other_header = reference.1 != candidate.1;
                let named = |side| tensors::named_in(side, options.rename);
                both(named(reference), named(candidate)).map(|(a, b)| Found::Tensors {
                    is_other_header,
                    tensors: tensors::between(&a, &b, options.tolerance),
                })
            }
            Kind::Text => Ok(Found::of_texts(reference.1, candidate.1, options)),
            Kind::Trace => Found::of_traces(TraceReport::of_contents(reference, candidate)),
        };
        FileReport::of(name, found)
    }

    fn of(name: &str, found: Result<Found, String>) -> FileReport {
        match found {
            Ok(found) => FileReport::new(name, found),
            Err(reason) => FileReport::incomparable(name, &reason),
        }
    }

    pub fn tensors(&self) -> &[TensorReport] {
        if let Found::Tensors { tensors, .. } = &self.found { tensors } else { &[] }
    }
}

impl Found {
    fn of_metrics(reference: &[u8], candidate: &[u8], options: &Options) -> Found {
        let rows = metrics::rows(reference);
        if reference == candidate {
            return Found::Metrics { rows, difference: None, first_line: None };
        }
        let difference = MetricsDifference::between(reference, candidate, options.tolerance).map(Box::new);
        let first_line = difference.is_none().then(|| TextDifference::between(reference, candidate));
        Found::Metrics { rows, difference, first_line }
    }

    fn of_texts(reference: &[u8], candidate: &[u8], options: &Options) -> Found {
        let lines = reference.split_inclusive(|&byte| byte == b'\n').count();
        if reference == candidate {
            return Found::Text { lines, close: None, first_line: None };
        }
        let close = options.tolerance.and_then(|tolerance| text::close(reference, candidate, tolerance));
        Found::Text { lines, close, first_line: Some(TextDifference::between(reference, candidate)) }
    }

    fn of_traces(report: Result<TraceReport, Error>) -> Result<Found, String> {
        report.map(|report| Found::Trace(Box::new(report))).map_err(|error| error.to_string())
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Incomparable { .. } => Verdict::Incomparable,
            Self::Metrics { difference: None, first_line: None, .. }
            | Self::Text { first_line: None, .. } => Verdict::Identical,
            Self::Metrics { difference: Some(difference), .. } if difference.is_close() => Verdict::Close,
            Self::Text { close: Some(_), .. } => Verdict::Close,
            Self::Metrics { .. } | Self::Text { .. } => Verdict::Different,
            Self::Tensors { tensors, .. } => {
                let differences = tensors.iter().filter_map(|tensor| tensor.difference.as_ref());
                let verdict = |difference: &TensorDifference| {
                    if difference.is_close() { Verdict::Close } else { Verdict::Different }
                };
                differences.map(verdict).max().unwrap_or(Verdict::Identical)
            }
            Self::Trace(report) => report.verdict(),
        }
    }

    /// The largest absolute difference, and the sum and the number of them.
    pub fn size(&self) -> (f64, f64, usize) {
        match self {
            Self::Metrics { difference: Some(difference), .. } => {
                (difference.max_abs_difference, difference.sum_abs, difference.differing)
            }
            Self::Text { close: Some(close), .. } => {
                (close.max_abs_difference, close.sum_abs, close.differing)
            }
            Self::Tensors { tensors, .. } => {
                let values = tensors.iter().filter_map(|tensor| match &tensor.difference {
                    Some(TensorDifference::Values(values)) => Some(values),
                    _ => None,
                });
                values.fold((0.0, 0.0, 0), |(max, sum, count), values| {
                    (values.max_abs_difference.max(max), sum + values.sum_abs, count + values.differing)
                })
            }
            _ => (0.0, 0.0, 0),
        }
    }
}

fn not_empty((path, table): (&Path, &[u8])) -> Result<(), Error> {
    if table.trim_ascii().is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(()) }
}

/// Both values, or what is wrong with both: who has two broken files should not learn of them one by one.
fn both<T>(reference: Result<T, Error>, candidate: Result<T, Error>) -> Result<(T, T), String> {
    match (reference, candidate) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (left, right) => {
            let errors = [left.err(), right.err()].into_iter().flatten();
            Err(errors.map(|error| error.to_string()).collect::<Vec<_>>().join("; "))
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Incomparable { reason, pickle } => {
                write!(f, "could not compare: {reason}")?;
                match pickle {
                    Some(pickle) => write!(f, "; the other's weights are in {pickle}, a pickle"),
                    None => Ok(()),
                }
            }
            Self::Metrics { difference: Some(difference), .. } => {
                if difference.is_close() {
                    f.write_str("close: ")?;
                }
                write!(f, "{difference}")
            }
            Self::Text { close: Some(close), .. } => write!(f, "close: {close}"),
            Self::Metrics { first_line: Some(text), .. } | Self::Text { first_line: Some(text), .. } => {
                write!(f, "{text}")
            }
            Self::Metrics { rows, .. } => write!(f, "identical ({})", count(*rows, "row")),
            Self::Text { lines, .. } => write!(f, "identical ({})", count(*lines, "line")),
            Self::Tensors { is_other_header, tensors } => {
                let differing = tensors.iter().filter(|tensor| tensor.difference.is_some()).count();
                let header = if *is_other_header { "; same tensors, another header" } else { "" };
                match self.verdict() {
                    Verdict::Identical => {
                        write!(f, "identical ({}{header})", count(tensors.len(), "tensor"))?
                    }
                    Verdict::Close => write!(f, "close: {}", differ(differing, tensors.len(), "tensor"))?,
                    _ => f.write_str(&differ(differing, tensors.len(), "tensor"))?,
                }
                tensors.iter().try_for_each(|tensor| write!(f, "\n    {tensor}"))
            }
            Self::Trace(report) => write!(f, "{report}"),
        }
    }
}
