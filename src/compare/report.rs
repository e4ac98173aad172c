//! What a comparison found, and how it is told.

use std::fmt;

use serde::Serialize;

use super::found::{FileReport, Found};
use super::options::OptionDifference;
use super::tensors::TensorReport;
use super::{Options, Tolerance, count};

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
    pub(crate) files: Vec<FileReport>,
    pub(crate) options: Vec<OptionDifference>,
    pub(super) tolerance: Option<Tolerance>,
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
        let differing_tensors = |file: &FileReport| {
            let differ = |tensor: &&TensorReport| {
                tensor.difference.as_ref().is_some_and(|difference| !difference.is_close())
            };
            file.tensors().iter().filter(differ).count()
        };
        let verdict = self.verdict();
        if verdict == Verdict::Incomparable {
            write!(f, "could not compare: {} of {files}; ", self.with(Verdict::Incomparable))?;
        }
        match (self.with(Verdict::Different), self.with(Verdict::Close), self.with(Verdict::Identical)) {
            (0, 0, _) if verdict == Verdict::Identical => {
                writeln!(f, "identical: {compared}, 0 differences")
            }
            (0, 0, same) if same > 0 => {
                writeln!(f, "identical: {same} of {files}, {}", count(tensors, "tensor"))
            }
            (0, close, _) if close > 0 => {
                let sizes = self.files.iter().map(|file| file.found.size());
                let (max, sum, n) =
                    sizes.fold((0f64, 0.0, 0), |(max, sum, n), (m, s, k)| (max.max(m), sum + s, n + k));
                let Tolerance { atol, rtol } = self.tolerance.unwrap_or_default();
                writeln!(
                    f,
                    "close, not identical: {compared}; {} differ, by {max:.3e} at most and {:.3e} on average (atol \
                     {atol:?}, rtol {rtol:?})",
                    count(n, "number"),
                    sum / n.max(1) as f64
                )
            }
            (different, ..) => {
                let differing: usize = self.files.iter().map(differing_tensors).sum();
                writeln!(f, "different: {different} of {files}, {differing} of {}", count(tensors, "tensor"))
            }
        }
    }
}
