//! What a comparison found, and how it is told.

use std::fmt;

use serde::Serialize;

use super::found::{FileReport, Found};
use super::options::OptionDifference;
use super::tensors::TensorReport;
use super::verdict::Verdict;
use super::{Options, Tolerance, count, numbers_differ};

/// What was found, by file; its `Display` is the text that the command prints.
#[derive(Debug)]
pub struct Report {
    pub(crate) files: Vec<FileReport>,
    pub(crate) options: Vec<OptionDifference>,
    pub(super) tolerance: Option<Tolerance>,
    /// The runs of which no weights were compared, by path below the folders; an empty one is the folder itself.
    pub(super) without_weights: Vec<String>,
    pub(super) allow_no_weights: bool,
    /// Whether one of these has weights in a pickle.
    pub(super) has_pickles: bool,
}

impl Report {
    pub(super) fn new(files: Vec<FileReport>, options: &Options) -> Self {
        let Options { tolerance, allow_no_weights, .. } = *options;
        let (options, without_weights) = (vec![], vec![]);
        Self { files, options, tolerance, without_weights, allow_no_weights, has_pickles: false }
    }

    /// The worst that was found.
    pub fn verdict(&self) -> Verdict {
        // No file at all proves nothing, nor do metrics that are the same.
        let worst = self.files.iter().map(|file| file.verdict).max().unwrap_or(Verdict::Incomparable);
        let is_proof = self.without_weights.is_empty() || self.allow_no_weights;
        if is_proof || worst == Verdict::Different { worst } else { Verdict::Incomparable }
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
            without_weights: &'a [String],
            files: &'a [FileReport],
        }
        let Self { files, options, tolerance, without_weights, .. } = self;
        let json = Json {
            verdict: self.verdict(),
            tolerance: *tolerance,
            options,
            steps_to_keep: self.steps_to_keep(),
            without_weights,
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
        let is_beside = |file: &FileReport| matches!(file.found, Found::Incomparable { pickle: Some(_), .. });
        self.has_pickles || self.files.iter().any(is_beside)
    }

    /// Whether weights are all that lacks for a verdict.
    pub fn lacks_only_weights(&self) -> bool {
        let is_told = |file: &FileReport| file.verdict <= Verdict::Close;
        self.verdict() == Verdict::Incomparable && self.files.iter().all(is_told)
    }

    /// `no weights were compared in MNIST/version_0`.
    fn no_weights(&self) -> Option<String> {
        const MAX_NAMED: usize = 5;
        let runs: Vec<&str> =
            self.without_weights.iter().map(String::as_str).filter(|run| !run.is_empty()).collect();
        Some(match runs.len() {
            _ if self.without_weights.is_empty() => return None,
            0 => "no weights were compared".to_owned(),
            count if count <= MAX_NAMED => format!("no weights were compared in {}", runs.join(", ")),
            count => {
                format!(
                    "no weights were compared in {} and {} more",
                    runs[..MAX_NAMED].join(", "),
                    count - MAX_NAMED
                )
            }
        })
    }

    fn with(&self, verdict: Verdict) -> usize {
        self.files.iter().filter(|file| file.verdict == verdict).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FileReport { name, found, note, .. } in &self.files {
            writeln!(f, "{name}: {found}")?;
            if let Some(note) = note {
                writeln!(f, "    {note}")?;
            }
        }
        self.options.iter().try_for_each(|option| writeln!(f, "{option}"))?;
        let is_other = |file: &FileReport| file.verdict != Verdict::Identical;
        let is_trace = |file: &FileReport| matches!(file.found, Found::Trace(_));
        if self.tolerance.is_some() && self.files.iter().any(|file| is_other(file) && is_trace(file)) {
            writeln!(f, "the tolerance does not count in traces, which hold hashes")?;
        }
        writeln!(f, "{}", self.sentence())
    }
}

impl Report {
    /// The verdict, and what it is of.
    fn sentence(&self) -> String {
        let files = count(self.files.len(), "file");
        let (verdict, no_weights) = (self.verdict(), self.no_weights());
        if verdict != Verdict::Incomparable {
            let no_weights = no_weights.map_or(String::new(), |no_weights| format!("; {no_weights}"));
            return format!("{}{no_weights}", self.found(&files));
        }
        let incomparable = self.with(Verdict::Incomparable);
        let files_and_weights =
            (incomparable > 0 || no_weights.is_none()).then(|| format!("{incomparable} of {files}"));
        let lacking: Vec<_> = files_and_weights.into_iter().chain(no_weights).collect();
        format!("could not compare: {}; {}", lacking.join(", and "), self.found(&files))
    }

    fn found(&self, files: &str) -> String {
        let tensors: usize = self.files.iter().map(|file| file.tensors().len()).sum();
        let tensors = count(tensors, "tensor");
        let steps = self.files.iter().map(|file| match &file.found {
            Found::Trace(report) => report.steps,
            _ => 0,
        });
        let traced = match steps.sum() {
            0 => String::new(),
            steps => format!(", {} traced", count(steps, "step")),
        };
        let differs = |tensor: &&TensorReport| {
            tensor.difference.as_ref().is_some_and(|difference| !difference.is_close())
        };
        match (self.with(Verdict::Different), self.with(Verdict::Close), self.with(Verdict::Identical)) {
            (0, 0, _) if self.verdict() == Verdict::Identical => {
                format!("identical: {files}, {tensors}{traced}, 0 differences")
            }
            (0, 0, same) if same > 0 => format!("identical: {same} of {files}, {tensors}"),
            (0, close, _) if close > 0 => {
                let sizes = self.files.iter().map(|file| file.found.size());
                let (max, sum, n) =
                    sizes.fold((0f64, 0.0, 0), |(max, sum, n), (m, s, k)| (max.max(m), sum + s, n + k));
                let Tolerance { atol, rtol } = self.tolerance.unwrap_or_default();
                let numbers = match n {
                    0 => "no number differs".to_owned(),
                    n => format!(
                        "{}, by {max:.3e} at most and {:.3e} on average",
                        numbers_differ(n),
                        sum / n as f64
                    ),
                };
                format!(
                    "close, not identical: {files}, {tensors}{traced}; {numbers} (atol {atol:?}, rtol {rtol:?})"
                )
            }
            (different, ..) => {
                let tensor_reports = self.files.iter().flat_map(FileReport::tensors);
                format!(
                    "different: {different} of {files}, {} of {tensors}",
                    tensor_reports.filter(differs).count()
                )
            }
        }
    }
}
