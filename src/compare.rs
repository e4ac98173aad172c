//! `islp-mnist compare`: are two runs identical, and if not, where do they part?
//!
//! Two output folders, two version folders or two files of one kind go in, a [`Report`] comes out. Compared are
//! `metrics.csv` and `stdout.txt` by their bytes, and every `*.safetensors` tensor by tensor, because its header may
//! be written in another way. Files of two folders are paired by their path below the folder. Pictures are left out,
//! and so are folders named `checkpoints` (Lightning fills them with pickles), unless they are what is compared.
//!
//! The comparison proves parity, so whatever it cannot read counts as [`Outcome::Incomparable`] and never as equal.

mod files;
mod metrics;
mod report;
mod tensors;
mod text;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::torch::state_dict;
use crate::util::text::shown;
use files::{Kind, is_folder, list, read};
use metrics::Metrics;
use report::FileReport;
pub use report::Report;
use tensors::Tensors;
use text::Text;

/// What a comparison says, from good to bad; the discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Bit for bit.
    Identical = 0,
    /// In one place at least.
    Different = 1,
    /// Something could not be read.
    Incomparable = 2,
}

impl Outcome {
    /// The discriminant.
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

#[derive(Debug)]
enum Finding {
    Metrics(Box<Metrics>),
    Tensors(Tensors),
    Text(Text),
    OnlyIn(Side),
    Unreadable(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Reference,
    Candidate,
}

/// Compares two folders or two files. An error means that there was nothing to compare; a single file that could
/// not be compared is an entry of the report, beside those that could.
pub fn compare(reference: &Path, candidate: &Path) -> Result<Report> {
    let files = match (is_folder(reference)?, is_folder(candidate)?) {
        (true, true) => compare_folders(reference, candidate)?,
        (false, false) => vec![compare_files(reference, candidate)?],
        (reference_is_folder, _) => {
            let (folder, file) =
                if reference_is_folder { (reference, candidate) } else { (candidate, reference) };
            let (folder, file) = (folder.display(), file.display());
            bail!("{folder} is a folder and {file} is not: name two folders or two files");
        }
    };
    Ok(Report { files })
}

/// Compares the contents of two files of one name, whose ending says their kind.
///
/// # Errors
/// A name with another ending.
pub fn compare_contents(name: &Path, reference: &[u8], candidate: &[u8]) -> Result<Report> {
    let compared = Finding::between(kind(name)?, (name, reference), (name, candidate));
    Ok(Report { files: vec![FileReport { name: shown(&name.to_string_lossy()), finding: compared.into() }] })
}

fn compare_folders(reference: &Path, candidate: &Path) -> Result<Vec<FileReport>> {
    let mut found: BTreeMap<PathBuf, (Kind, Vec<Side>)> = BTreeMap::new();
    for (folder, side) in [(reference, Side::Reference), (candidate, Side::Candidate)] {
        let mut files = Vec::new();
        list(folder, Path::new(""), &mut files)?;
        for (file, kind) in files {
            found.entry(file).or_insert((kind, Vec::new())).1.push(side);
        }
    }
    ensure!(
        !found.is_empty(),
        "no metrics.csv, *.safetensors or stdout.txt in {} and {}: name two folders that `reproduce` wrote to",
        reference.display(),
        candidate.display()
    );
    let report = |(file, (kind, sides)): (PathBuf, (Kind, Vec<Side>))| FileReport {
        name: shown(&file.to_string_lossy()),
        finding: match sides[..] {
            [side] => Finding::OnlyIn(side),
            _ => Finding::of(kind, &reference.join(&file), &candidate.join(&file)),
        },
    };
    Ok(found.into_iter().map(report).collect())
}

fn compare_files(reference: &Path, candidate: &Path) -> Result<FileReport> {
    let of_reference = kind(reference)?;
    let (left, right) = (reference.display(), candidate.display());
    ensure!(
        of_reference == kind(candidate)?,
        "{left} and {right} are of two kinds: name two files of one kind"
    );
    let name = match (reference.file_name(), candidate.file_name()) {
        (Some(left), Some(right)) if left == right => left.to_string_lossy().into_owned(),
        _ => format!("{left} and {right}"),
    };
    let finding = Finding::of(of_reference, reference, candidate);
    Ok(FileReport { name: shown(&name), finding })
}

fn kind(path: &Path) -> Result<Kind> {
    let known = Kind::of(path);
    known.with_context(|| format!("{}: expected a .csv, a .safetensors or a .txt file", path.display()))
}

impl Finding {
    fn of(kind: Kind, reference: &Path, candidate: &Path) -> Finding {
        let compared = both(read(reference), read(candidate))
            .and_then(|(left, right)| Finding::between(kind, (reference, &left), (candidate, &right)));
        compared.into()
    }

    /// Two files' contents; an error names the file.
    fn between(kind: Kind, reference: (&Path, &[u8]), candidate: (&Path, &[u8])) -> Result<Finding> {
        let ((reference, left), (candidate, right)) = (reference, candidate);
        Ok(match kind {
            Kind::Metrics => {
                // Equal files need no second look, except that two empty ones prove nothing.
                if left.is_empty() || left != right {
                    both(
                        in_file(reference, metrics::check(left)),
                        in_file(candidate, metrics::check(right)),
                    )?;
                }
                Finding::Metrics(Metrics::compare(left, right)?.into())
            }
            Kind::Tensors => {
                let (a, b) = (
                    in_file(reference, state_dict::open(left).map_err(anyhow::Error::from)),
                    in_file(candidate, state_dict::open(right).map_err(anyhow::Error::from)),
                );
                let (a, b) = both(a, b)?;
                Finding::Tensors(Tensors::compare(&a, &b, left == right))
            }
            Kind::Text => Finding::Text(Text::compare(left, right)),
        })
    }

    fn outcome(&self) -> Outcome {
        let identical = match self {
            Finding::Metrics(metrics) => metrics.is_identical(),
            Finding::Tensors(tensors) => tensors.differing() == 0,
            Finding::Text(text) => text.is_identical(),
            Finding::OnlyIn(_) | Finding::Unreadable(_) => return Outcome::Incomparable,
        };
        if identical { Outcome::Identical } else { Outcome::Different }
    }
}

impl From<Result<Finding>> for Finding {
    fn from(compared: Result<Finding>) -> Finding {
        compared.unwrap_or_else(|error| Finding::Unreadable(shown(&format!("{error:#}"))))
    }
}

/// Both values, or the errors of both: who has two broken files should not learn of them one by one.
fn both<T>(reference: Result<T>, candidate: Result<T>) -> Result<(T, T)> {
    match (reference, candidate) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(left), Err(right)) => bail!("{left:#}; {right:#}"),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn in_file<T>(path: &Path, parsed: Result<T>) -> Result<T> {
    parsed.with_context(|| path.display().to_string())
}

/// `1 file`, `2 files`.
fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn differ(n: usize) -> &'static str {
    if n == 1 { "differs" } else { "differ" }
}
