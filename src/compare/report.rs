//! The result of a comparison, for each file and overall, as text and as JSON.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Options;
use super::metrics::Metrics;
use super::numbers::{Size, Tolerance};
use super::options::OptionDifference;
use super::tensors::{self, TensorReport, Tensors};
use super::text::Text;
use super::trace::Trace;
use super::verdict::{Error, Finding, Incomparable, Verdict, numbers_differ};
use crate::util::file;
use crate::util::text::{count, shown};

/// The result of a comparison, by file; its `Display` is the text that the command prints.
#[derive(Debug)]
pub struct Report {
    pub(crate) files: Vec<FileReport>,
    pub(crate) options: Vec<OptionDifference>,
    pub(super) tolerance: Option<Tolerance>,
    /// The runs whose weights were not compared, by path below the folders; an empty path is the folder itself.
    pub(super) without_weights: Vec<String>,
    pub(super) allow_no_weights: bool,
    /// True if one of these has weights in a pickle.
    pub(super) has_pickles: bool,
}

/// The result of comparing one file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    pub name: String,
    pub verdict: Verdict,
    /// The reason why this file was compared, if it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(flatten)]
    pub found: Found,
    /// The reference's file and the candidate's, by path below their folders.
    #[serde(skip)]
    pub paths: [PathBuf; 2],
}

/// The result by kind of file.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Found {
    Incomparable(Incomparable),
    Metrics(Metrics),
    Tensors(Tensors),
    Text(Text),
    Trace(Box<Trace>),
}

impl Found {
    fn finding(&self) -> &dyn Finding {
        match self {
            Self::Incomparable(finding) => finding,
            Self::Metrics(finding) => finding,
            Self::Tensors(finding) => finding,
            Self::Text(finding) => finding,
            Self::Trace(finding) => finding.as_ref(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.finding().fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Metrics,
    Tensors,
    Text,
    Trace,
}

impl Kind {
    /// The kind by the file's extension.
    pub fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Metrics),
            Some("safetensors") => Ok(Self::Tensors),
            Some("txt") => Ok(Self::Text),
            Some("trace") => Ok(Self::Trace),
            _ => Err(Error::UnknownKind(path.to_owned())),
        }
    }

    /// The most bytes that a file may have; the notebook's have 10 KB, 1 MB and 3 KB. None if it is read step by step.
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Metrics | Self::Text => Some(64 << 20),
            Self::Tensors => Some(1 << 30),
            Self::Trace => None,
        }
    }
}

impl FileReport {
    pub fn new(name: &str, found: Found) -> Self {
        let verdict = found.finding().verdict();
        Self { name: shown(name), verdict, note: None, found, paths: Default::default() }
    }

    pub fn of_files(kind: Kind, name: &str, reference: &Path, candidate: &Path, options: &Options) -> Self {
        let Some(limit) = kind.limit() else {
            return Self::of(name, of_traces(Trace::of_files(reference, candidate, options)));
        };
        let [left, right] = [reference, candidate].map(|path| Ok(file::read(path, limit)?));
        match both(left, right) {
            Ok((left, right)) => {
                Self::of_contents(kind, name, (reference, &left), (candidate, &right), options)
            }
            Err(reason) => Self::of(name, Err(reason)),
        }
    }

    /// Compares the contents of two files. Errors name the paths.
    pub fn of_contents(
        kind: Kind,
        name: &str,
        reference: (&Path, &[u8]),
        candidate: (&Path, &[u8]),
        options: &Options,
    ) -> Self {
        let Options { tolerance, rename, .. } = *options;
        let (left, right) = (reference.1, candidate.1);
        let found = match kind {
            Kind::Metrics => both(not_empty(reference), not_empty(candidate))
                .map(|_| Found::Metrics(Metrics::between(left, right, tolerance))),
            Kind::Tensors => both(
                tensors::named_in(reference, None, rename),
                tensors::named_in(candidate, Some(&options.translation), rename),
            )
            .map(|(a, b)| Found::Tensors(Tensors::between(&a, &b, left != right, tolerance))),
            Kind::Text => Ok(Found::Text(Text::between(left, right, tolerance))),
            Kind::Trace => of_traces(Trace::of_contents(reference, candidate, options)),
        };
        Self::of(name, found)
    }

    /// Creates the report of a file, which is incomparable if there is an error.
    fn of(name: &str, found: Result<Found, String>) -> Self {
        Self::new(name, found.unwrap_or_else(|reason| Found::Incomparable(Incomparable::new(&reason))))
    }

    /// Drops a checkpoint's states of optimizer and generator.
    pub fn without_states(mut self) -> Self {
        if let Found::Tensors(tensors) = &mut self.found {
            tensors.drop_states();
            self.verdict = tensors.verdict();
        }
        self
    }

    pub fn tensors(&self) -> &[TensorReport] {
        if let Found::Tensors(tensors) = &self.found { &tensors.tensors } else { &[] }
    }

    fn trace(&self) -> Option<&Trace> {
        if let Found::Trace(trace) = &self.found { Some(trace) } else { None }
    }
}

fn of_traces(trace: Result<Trace, Error>) -> Result<Found, String> {
    trace.map(|trace| Found::Trace(Box::new(trace))).map_err(|error| error.to_string())
}

fn not_empty((path, table): (&Path, &[u8])) -> Result<(), Error> {
    if table.trim_ascii().is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(()) }
}

/// Returns both values, or the errors of both sides, so that a user sees both broken files at once.
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
        let Options { tolerance, allow_no_weights, .. } = *options;
        let of_trace = |file: &FileReport| {
            let settings = file.trace().map(|trace| trace.settings.as_slice()).unwrap_or_default();
            settings.iter().map(|setting| setting.of_file(&file.name)).collect::<Vec<_>>()
        };
        let (options, without_weights) = (files.iter().flat_map(of_trace).collect(), vec![]);
        Self { files, options, tolerance, without_weights, allow_no_weights, has_pickles: false }
    }

    /// The worst of the files' verdicts.
    pub fn verdict(&self) -> Verdict {
        // Neither a comparison without files nor equal metrics without weights prove anything.
        let worst = self.files.iter().map(|file| file.verdict).max().unwrap_or(Verdict::Incomparable);
        let is_proof = self.without_weights.is_empty() || self.allow_no_weights;
        if is_proof || worst == Verdict::Different { worst } else { Verdict::Incomparable }
    }

    /// The whole report as JSON; docs/json.md describes the fields.
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

    /// The steps around the first one in which traces differ, if the tensors were not kept there.
    pub fn steps_to_keep(&self) -> Option<(usize, usize)> {
        self.files.iter().filter_map(FileReport::trace).find_map(Trace::steps_to_keep)
    }

    /// The parameter whose matrix is transposed on one side, if that is the first difference of two traces.
    pub fn transposed(&self) -> Option<&str> {
        self.files.iter().filter_map(FileReport::trace).find_map(Trace::transposed)
    }

    /// True if weights could not be compared because they are in a pickle.
    pub fn has_pickle(&self) -> bool {
        let has_pickle = |file: &FileReport| match &file.found {
            Found::Incomparable(incomparable) => incomparable.pickle.is_some(),
            _ => false,
        };
        self.has_pickles || self.files.iter().any(has_pickle)
    }

    /// True if only missing weights prevent a verdict.
    pub fn lacks_only_weights(&self) -> bool {
        let is_equal = |file: &FileReport| file.verdict <= Verdict::Close;
        self.verdict() == Verdict::Incomparable && self.files.iter().all(is_equal)
    }

    fn count(&self, verdict: Verdict) -> usize {
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
        let explains = matches!(self.verdict(), Verdict::Close | Verdict::Different);
        if explains && !self.options.is_empty() {
            writeln!(f, "what could be why, most likely first:")?;
        }
        let indent = if explains { "    " } else { "" };
        self.options.iter().try_for_each(|option| writeln!(f, "{indent}{option}"))?;
        writeln!(f, "{}", self.sentence())
    }
}

impl Report {
    /// The last line: the verdict, and what it is based on.
    fn sentence(&self) -> String {
        let files = count(self.files.len(), "file");
        let (verdict, no_weights) = (self.verdict(), self.no_weights());
        if verdict != Verdict::Incomparable {
            let no_weights = no_weights.map_or(String::new(), |no_weights| format!("; {no_weights}"));
            return format!("{}{no_weights}", self.summary(&files));
        }
        let incomparable = self.count(Verdict::Incomparable);
        let files_and_weights =
            (incomparable > 0 || no_weights.is_none()).then(|| format!("{incomparable} of {files}"));
        let lacking: Vec<_> = files_and_weights.into_iter().chain(no_weights).collect();
        format!("could not compare: {}; {}", lacking.join(", and "), self.summary(&files))
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

    /// The verdict on what could be compared.
    fn summary(&self, files: &str) -> String {
        let tensors: Vec<&TensorReport> = self.files.iter().flat_map(FileReport::tensors).collect();
        let differing = tensors.iter().filter(|tensor| tensor.verdict() == Verdict::Different).count();
        let tensors = count(tensors.len(), "tensor");
        let traced = match self.files.iter().filter_map(FileReport::trace).map(|trace| trace.steps).sum() {
            0 => String::new(),
            steps => format!(", {} traced", count(steps, "step")),
        };
        match [Verdict::Different, Verdict::Close, Verdict::Identical].map(|verdict| self.count(verdict)) {
            [0, 0, _] if self.verdict() == Verdict::Identical => {
                format!("identical: {files}, {tensors}{traced}, 0 differences")
            }
            [0, 0, same] if same > 0 => format!("identical: {same} of {files}, {tensors}"),
            [0, close, _] if close > 0 => {
                let size: Size = self.files.iter().map(|file| file.found.finding().size()).sum();
                let numbers = match size.count {
                    // A trace says itself how far it is apart.
                    0 if !traced.is_empty() => String::new(),
                    0 => "; no number differs".to_owned(),
                    n => format!(
                        "; {}, by {:.3e} at most and {:.3e} on average",
                        numbers_differ(n),
                        size.max_abs,
                        size.sum_abs / n as f64
                    ),
                };
                let Tolerance { atol, rtol } = self.tolerance.unwrap_or_default();
                format!(
                    "close, not identical: {files}, {tensors}{traced}{numbers} (atol {atol:?}, rtol {rtol:?})"
                )
            }
            [different, ..] => format!("different: {different} of {files}, {differing} of {tensors}"),
        }
    }
}
