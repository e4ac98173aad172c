//! What a comparison found, and how it is told.

use std::fmt;
use std::path::Path;

use safetensors::SafeTensors;

use super::files::Kind;
use super::tensors::TensorsDiff;
use super::{Error, count, differ, metrics, text};
use crate::torch::state_dict;
use crate::util::file;
use crate::util::text::shown;

/// What a comparison says, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Bit for bit.
    Identical,
    /// In one place at least.
    Different,
    /// Something could not be read.
    Incomparable,
}

/// What was found, by file; its `Display` is the text that the command prints.
#[derive(Debug)]
pub struct Report {
    pub(super) files: Vec<FileReport>,
}

#[derive(Debug)]
pub struct FileReport {
    name: String,
    verdict: Verdict,
    told: String,
    tensors: usize,
    differing_tensors: usize,
}

impl FileReport {
    fn new(name: &str, verdict: Verdict, told: String) -> FileReport {
        FileReport { name: shown(name), verdict, told, tensors: 0, differing_tensors: 0 }
    }

    pub fn incomparable(name: &str, reason: &str) -> FileReport {
        FileReport::new(name, Verdict::Incomparable, format!("could not compare: {reason}"))
    }

    pub fn of_files(kind: Kind, name: &str, reference: &Path, candidate: &Path) -> FileReport {
        let [left, right] = [reference, candidate].map(|path| Ok(file::read(path, kind.limit())?));
        match both(left, right) {
            Ok((left, right)) => FileReport::of_contents(kind, name, (reference, &left), (candidate, &right)),
            Err(reason) => FileReport::incomparable(name, &reason),
        }
    }

    /// Of two files' contents; an error names the file.
    pub fn of_contents(
        kind: Kind,
        name: &str,
        reference: (&Path, &[u8]),
        candidate: (&Path, &[u8]),
    ) -> FileReport {
        let (left, right) = (reference.1, candidate.1);
        let identical = |what| FileReport::new(name, Verdict::Identical, format!("identical ({what})"));
        let different = |told| FileReport::new(name, Verdict::Different, told);
        let report = match kind {
            Kind::Metrics => both(not_empty(reference), not_empty(candidate)).map(|_| {
                if left == right {
                    return identical(count(metrics::rows(left).count() - 1, "row"));
                }
                let cells = metrics::difference(left, right);
                different(cells.unwrap_or_else(|| text::difference(left, right)))
            }),
            Kind::Tensors => both(tensors(reference), tensors(candidate)).map(|(a, b)| {
                let TensorsDiff { all, differing, lines } = TensorsDiff::between(&a, &b);
                let header = if left == right { "" } else { "; same tensors, another header" };
                let report = match differing {
                    0 => identical(count(all, "tensor") + header),
                    _ => different(differ(differing, all, "tensor")),
                };
                let told = report.told + &lines;
                FileReport { told, tensors: all, differing_tensors: differing, ..report }
            }),
            Kind::Text if left == right => {
                Ok(identical(count(left.split_inclusive(|&byte| byte == b'\n').count(), "line")))
            }
            Kind::Text => Ok(different(text::difference(left, right))),
        };
        report.unwrap_or_else(|reason| FileReport::incomparable(name, &reason))
    }
}

fn not_empty((path, table): (&Path, &[u8])) -> Result<(), Error> {
    if table.trim_ascii().is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(()) }
}

fn tensors<'a>((path, bytes): (&Path, &'a [u8])) -> Result<SafeTensors<'a>, Error> {
    state_dict::open(bytes).map_err(|error| Error::Safetensors(path.to_owned(), error))
}

/// Both values, or what is wrong with both: who has two broken files should not learn of them one by one.
fn both<T>(reference: Result<T, Error>, candidate: Result<T, Error>) -> Result<(T, T), String> {
    match (reference, candidate) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (left, right) => {
            let errors = [left.err(), right.err()].into_iter().flatten();
            Err(errors.map(|error| shown(&error.to_string())).collect::<Vec<_>>().join("; "))
        }
    }
}

impl Report {
    /// The worst that was found.
    pub fn verdict(&self) -> Verdict {
        // No file at all proves nothing.
        self.files.iter().map(|file| file.verdict).max().unwrap_or(Verdict::Incomparable)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|FileReport { name, told, .. }| writeln!(f, "{name}: {told}"))?;
        let files = count(self.files.len(), "file");
        let tensors = count(self.files.iter().map(|file| file.tensors).sum(), "tensor");
        let with = |verdict| self.files.iter().filter(|file| file.verdict == verdict).count();
        match self.verdict() {
            Verdict::Identical => return writeln!(f, "identical: {files}, {tensors}, 0 differences"),
            Verdict::Different => {}
            Verdict::Incomparable => {
                write!(f, "could not compare: {} of {files}; ", with(Verdict::Incomparable))?;
            }
        }
        let differing_tensors: usize = self.files.iter().map(|file| file.differing_tensors).sum();
        writeln!(f, "different: {} of {files}, {differing_tensors} of {tensors}", with(Verdict::Different))
    }
}
