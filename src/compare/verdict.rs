//! The verdict of a comparison, the trait of all findings, and the errors.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::numbers::Size;
use crate::torch::state_dict;
use crate::trace;
use crate::util::file;
use crate::util::text::{count, shown};

/// Deeper than any output folder. Ends the recursion if a link leads back to its own folder.
pub const MAX_DEPTH: usize = 8;

/// The verdict of a comparison, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Bit for bit.
    Identical,
    /// Not bit for bit, but within the tolerance that was asked for.
    Close,
    /// Different in at least one place.
    Different,
    /// Something could not be read.
    Incomparable,
}

/// The result of comparing two files of one kind, or a part of them; its `Display` is the text of the report.
pub trait Finding: fmt::Display {
    fn verdict(&self) -> Verdict;

    /// The differences between numbers; zero where none are compared.
    fn size(&self) -> Size {
        Size::default()
    }
}

/// A file that could not be compared.
#[derive(Debug, Serialize)]
pub struct Incomparable {
    pub reason: String,
    /// Lightning's checkpoint with the weights that are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pickle: Option<String>,
}

impl Incomparable {
    pub fn new(reason: &str) -> Self {
        Self { reason: shown(reason), pickle: None }
    }

    /// For a file that the other side lacks; the other's weights may be in a pickle.
    pub fn only_in(side: &str, pickle: Option<&Path>) -> Self {
        let pickle = pickle.map(|path| shown(&path.to_string_lossy()));
        Self { pickle, ..Self::new(&format!("only in the {side}")) }
    }
}

impl Finding for Incomparable {
    fn verdict(&self) -> Verdict {
        Verdict::Incomparable
    }
}

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "could not compare: {}", self.reason)?;
        match &self.pickle {
            Some(pickle) => write!(f, "; the other's weights are in {pickle}, a pickle"),
            None => Ok(()),
        }
    }
}

/// Why there was nothing to compare, or why one file could not be compared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{} and {} are of different types", .0.display(), .1.display())]
    TwoKinds(PathBuf, PathBuf),
    #[error("{}: expected a .csv, a .safetensors, a .trace or a .txt file", .0.display())]
    UnknownKind(PathBuf),
    #[error("no metrics.csv, *.safetensors, *.trace or stdout.txt in {} and {}", .0.display(), .1.display())]
    NoFiles(PathBuf, PathBuf),
    #[error("{} is more than {MAX_DEPTH} folders deep", .0.display())]
    TooDeep(PathBuf),
    #[error("{}: the file is empty, without even a header", .0.display())]
    Empty(PathBuf),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error("{left} and {right} of the candidate both become {new}")]
    OneName { left: String, right: String, new: String },
    #[error("{name} {shape:?} of the candidate is not a matrix, and can't be transposed")]
    NotAMatrix { name: String, shape: Vec<usize> },
    #[error("{}: {}", .0.display(), .1)]
    Safetensors(PathBuf, state_dict::Error),
}

/// `1 of 2 values differs`.
pub fn differ(n: usize, of: usize, noun: &str) -> String {
    format!("{n} of {} {}", count(of, noun), if n == 1 { "differs" } else { "differ" })
}

/// `1 number differs`.
pub fn numbers_differ(n: usize) -> String {
    format!("{} {}", count(n, "number"), if n == 1 { "differs" } else { "differ" })
}
