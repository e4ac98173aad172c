//! What a comparison found, and how it is told.

use std::fmt;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::Serialize;

use super::files::Kind;
use super::metrics::MetricsDifference;
use super::options::OptionDifference;
use super::tensors::{TensorDifference, TensorReport};
use super::text::TextDifference;
use super::trace::TraceReport;
use super::{Error, Options, Tolerance, count, differ, metrics, tensors, text};
use crate::torch::state_dict;
use crate::util::file;
use crate::util::text::shown;

/// What a comparison says, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Bit for bit.
    Identical,
    /// Not bit for bit, but within the tolerance that was asked for.
    Close,
    /// In one place at least.
    Different,
    /// Something could not be read.
    Incomparable,
}

/// What was found, by file; its `Display` is the text that the command prints.
#[derive(Debug)]
pub struct Report {
    pub(super) files: Vec<FileReport>,
    pub(super) options: Vec<OptionDifference>,
    pub(super) tolerance: Option<Tolerance>,
}

#[derive(Debug, Serialize)]
pub struct FileReport {
    pub(super) name: String,
    verdict: Verdict,
    #[serde(flatten)]
    found: Found,
}

/// What was found in a file of a kind.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Found {
    Incomparable {
        reason: String,
        /// Lightning's checkpoint that holds the weights which are missing here.
        #[serde(skip_serializing_if = "Option::is_none")]
        pickle: Option<PathBuf>,
    },
    Metrics {
        rows: usize,
        difference: Option<MetricsDifference>,
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
    Trace(TraceReport),
}

/// Numbers in a text that differ within the tolerance.
#[derive(Debug, Serialize)]
struct Close {
    differing: usize,
    max_abs_difference: f64,
    #[serde(skip)]
    sum_abs: f64,
}

impl FileReport {
    pub fn incomparable(name: &str, reason: &str) -> FileReport {
        FileReport::incomparable_beside(name, reason, None)
    }

    /// Of a file that only one side has; the other's weights may lie in a pickle.
    pub fn incomparable_beside(name: &str, reason: &str, pickle: Option<PathBuf>) -> FileReport {
        let found = Found::Incomparable { reason: shown(reason), pickle };
        FileReport { name: shown(name), verdict: Verdict::Incomparable, found }
    }

    pub fn of_files(
        kind: Kind,
        name: &str,
        reference: &Path,
        candidate: &Path,
        options: &Options,
    ) -> FileReport {
        if kind == Kind::Trace {
            return FileReport::of_traces(name, TraceReport::of_files(reference, candidate));
        }
        let [left, right] = [reference, candidate].map(|path| Ok(file::read(path, kind.limit())?));
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
                both(safetensors(reference), safetensors(candidate)).map(|(a, b)| Found::Tensors {
                    is_other_header: reference.1 != candidate.1,
                    tensors: tensors::between(&a, &b, options),
                })
            }
            Kind::Text => Ok(Found::of_texts(reference.1, candidate.1, options)),
            Kind::Trace => {
                return FileReport::of_traces(name, TraceReport::of_contents(reference, candidate));
            }
        };
        match found {
            Ok(found) => FileReport { name: shown(name), verdict: found.verdict(), found },
            Err(reason) => FileReport::incomparable(name, &reason),
        }
    }

    fn of_traces(name: &str, report: Result<TraceReport, Error>) -> FileReport {
        match report {
            Ok(report) => {
                FileReport { name: shown(name), verdict: report.verdict(), found: Found::Trace(report) }
            }
            Err(error) => FileReport::incomparable(name, &error.to_string()),
        }
    }

    fn tensors(&self) -> &[TensorReport] {
        if let Found::Tensors { tensors, .. } = &self.found { tensors } else { &[] }
    }
}

impl Found {
    fn of_metrics(reference: &[u8], candidate: &[u8], options: &Options) -> Found {
        let rows = metrics::rows(reference).count() - 1;
        let difference = MetricsDifference::between(reference, candidate, options.tolerance);
        let is_told = reference == candidate || difference.is_some();
        let first_line = (!is_told).then(|| TextDifference::between(reference, candidate));
        Found::Metrics { rows, difference, first_line }
    }

    fn of_texts(reference: &[u8], candidate: &[u8], options: &Options) -> Found {
        let lines = reference.split_inclusive(|&byte| byte == b'\n').count();
        if reference == candidate {
            return Found::Text { lines, close: None, first_line: None };
        }
        let close = options.tolerance.and_then(|tolerance| text::close(reference, candidate, tolerance));
        let close = close.map(|(differing, max_abs_difference, sum_abs)| Close {
            differing,
            max_abs_difference,
            sum_abs,
        });
        Found::Text { lines, close, first_line: Some(TextDifference::between(reference, candidate)) }
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
    fn size(&self) -> (f64, f64, usize) {
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

fn safetensors<'a>((path, bytes): (&Path, &'a [u8])) -> Result<SafeTensors<'a>, Error> {
    state_dict::open(bytes).map_err(|error| Error::Safetensors(path.to_owned(), error))
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

impl Report {
    pub(super) fn new(files: Vec<FileReport>, options: &Options) -> Self {
        Self { files, options: vec![], tolerance: options.tolerance }
    }

    /// The worst that was found.
    pub fn verdict(&self) -> Verdict {
        // No file at all proves nothing.
        self.files.iter().map(|file| file.verdict).max().unwrap_or(Verdict::Incomparable)
    }

    /// All of it as JSON; docs/json.md has the fields.
    ///
    /// # Panics
    /// Never.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            verdict: Verdict,
            tolerance: Option<Tolerance>,
            options: &'a [OptionDifference],
            /// For `--trace-steps`.
            steps_to_keep: Option<(usize, usize)>,
            files: &'a [FileReport],
        }
        let Self { files, options, tolerance } = self;
        let json = Json {
            verdict: self.verdict(),
            tolerance: *tolerance,
            options,
            steps_to_keep: self.steps_to_keep(),
            files,
        };
        serde_json::to_string_pretty(&json).expect("a report goes into JSON")
    }

    /// The steps around the first one at which traces part, where the tensors were not kept there.
    pub fn steps_to_keep(&self) -> Option<(usize, usize)> {
        self.files.iter().find_map(|file| match &file.found {
            Found::Trace(report) => report.steps_to_keep(),
            _ => None,
        })
    }

    /// Whether weights could not be compared because they lie in a pickle.
    pub fn has_pickle(&self) -> bool {
        self.files.iter().any(|file| matches!(file.found, Found::Incomparable { pickle: Some(_), .. }))
    }

    fn with(&self, verdict: Verdict) -> usize {
        self.files.iter().filter(|file| file.verdict == verdict).count()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Incomparable { reason, pickle } => {
                write!(f, "could not compare: {reason}")?;
                match pickle {
                    Some(pickle) => write!(
                        f,
                        "; the other's weights are in {}, a pickle",
                        shown(&pickle.to_string_lossy())
                    ),
                    None => Ok(()),
                }
            }
            Self::Metrics { difference: Some(difference), .. } => {
                if difference.is_close() {
                    f.write_str("close: ")?;
                }
                write!(f, "{difference}")
            }
            Self::Text { close: Some(close), .. } => write!(f, "close: {}", differ_numbers(close)),
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

fn differ_numbers(close: &Close) -> String {
    let verb = if close.differing == 1 { "differs" } else { "differ" };
    format!("{} {verb} by {:.3e} at most", count(close.differing, "number"), close.max_abs_difference)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| writeln!(f, "{}: {}", file.name, file.found))?;
        self.options.iter().try_for_each(|option| writeln!(f, "{option}"))?;
        let files = count(self.files.len(), "file");
        let tensors: usize = self.files.iter().map(|file| file.tensors().len()).sum();
        let steps: usize = self
            .files
            .iter()
            .map(|file| match &file.found {
                Found::Trace(report) => report.steps,
                _ => 0,
            })
            .sum();
        let mut compared = format!("{files}, {}", count(tensors, "tensor"));
        if steps > 0 {
            compared += &format!(", {} traced", count(steps, "step"));
        }
        match self.verdict() {
            Verdict::Identical => return writeln!(f, "identical: {compared}, 0 differences"),
            Verdict::Close => {
                let sizes = self.files.iter().map(|file| file.found.size());
                let (max, sum, count) =
                    sizes.fold((0f64, 0.0, 0), |(max, sum, n), (m, s, k)| (max.max(m), sum + s, n + k));
                let Tolerance { atol, rtol } = self.tolerance.unwrap_or(Tolerance { atol: 0.0, rtol: 0.0 });
                return writeln!(
                    f,
                    "close, not identical: {compared}; {count} numbers differ, by {max:.3e} at most and {:.3e} on \
                     average (atol {atol:?}, rtol {rtol:?})",
                    sum / count as f64
                );
            }
            Verdict::Different => {}
            Verdict::Incomparable => {
                write!(f, "could not compare: {} of {files}; ", self.with(Verdict::Incomparable))?;
                let same = self.with(Verdict::Identical);
                if same > 0 && same + self.with(Verdict::Incomparable) == self.files.len() {
                    return writeln!(f, "identical: {same} of {files}, {}", count(tensors, "tensor"));
                }
            }
        }
        let differing_tensors = |file: &FileReport| {
            file.tensors()
                .iter()
                .filter(|tensor| tensor.difference.as_ref().is_some_and(|difference| !difference.is_close()))
                .count()
        };
        let differing_tensors: usize = self.files.iter().map(differing_tensors).sum();
        let different = self.with(Verdict::Different);
        writeln!(f, "different: {different} of {files}, {differing_tensors} of {}", count(tensors, "tensor"))
    }
}
