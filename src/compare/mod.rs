//! `islp-mnist compare`: are two runs identical, and if not, where do they part?
//!
//! Two output folders, two version folders or two files of one kind go in, a [`Report`] comes out. Bytes decide about
//! `metrics.csv` and `stdout.txt`, and about every tensor of a `*.safetensors`, whose header may be written in another
//! way. Files of two folders are paired by their path below the folder. Pictures are left out, and so are folders named
//! `checkpoints` (Lightning fills them with pickles), unless they are what is compared.
//!
//! The comparison proves parity, so whatever it cannot read counts as [`Verdict::Incomparable`] and never as equal.
//!
//! ```
//! use islp_mnist::compare::{Report, Verdict, compare};
//!
//! let folder = tempfile::tempdir()?;
//! let (reference, candidate) = (folder.path().join("python.csv"), folder.path().join("rust.csv"));
//! std::fs::write(&reference, "epoch,step,valid_loss\r\n0,187,0.25\r\n1,375,0.125\r\n")?;
//! std::fs::write(&candidate, "epoch,step,valid_loss\r\n0,187,0.25\r\n1,375,0.5\r\n")?;
//!
//! let report: Report = compare(&reference, &candidate)?;
//! assert_eq!(report.verdict(), Verdict::Different);
//! let first = "first in row 2 (epoch 1, step 375), valid_loss: reference 0.125, candidate 0.5 (0.375 apart)";
//! assert!(report.to_string().contains(first));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod differences;
mod error;
mod files;
mod metrics;
mod report;
mod tensors;
mod text;

use std::path::{Path, PathBuf};

pub use error::Error;
use files::{Kind, is_folder, list};
use report::FileReport;
pub use report::{Report, Verdict};

/// Compares two folders or two files. A single file that could not be compared is an entry of the report, beside those
/// that could.
///
/// # Errors
/// There was nothing to compare: a path can't be read, the two are of different kinds or of one that is not known, or
/// the folders hold no such file.
pub fn compare(reference: &Path, candidate: &Path) -> Result<Report, Error> {
    let files = match (is_folder(reference)?, is_folder(candidate)?) {
        (true, true) => compare_folders(reference, candidate)?,
        (false, false) if Kind::of(reference)? == Kind::of(candidate)? => {
            let name = match (reference.file_name(), candidate.file_name()) {
                (Some(left), Some(right)) if left == right => left.to_string_lossy().into_owned(),
                _ => format!("{} and {}", reference.display(), candidate.display()),
            };
            vec![FileReport::of_files(Kind::of(reference)?, &name, reference, candidate)]
        }
        _ => return Err(Error::TwoKinds(reference.to_owned(), candidate.to_owned())),
    };
    Ok(Report { files })
}

fn compare_folders(reference: &Path, candidate: &Path) -> Result<Vec<FileReport>, Error> {
    let (left, right) = (list(reference)?, list(candidate)?);
    if left.is_empty() && right.is_empty() {
        return Err(Error::NoFiles(reference.to_owned(), candidate.to_owned()));
    }
    let report = |file: &PathBuf| {
        let name = file.to_string_lossy();
        Ok(match (left.contains(file), right.contains(file)) {
            (true, false) => FileReport::incomparable(&name, "only in the reference"),
            (false, true) => FileReport::incomparable(&name, "only in the candidate"),
            _ => FileReport::of_files(Kind::of(file)?, &name, &reference.join(file), &candidate.join(file)),
        })
    };
    left.union(&right).map(report).collect()
}

/// Compares the contents of two files of one name, whose ending says their kind.
///
/// # Errors
/// A name with another ending.
pub fn compare_contents(name: &Path, reference: &[u8], candidate: &[u8]) -> Result<Report, Error> {
    let (kind, shown) = (Kind::of(name)?, name.to_string_lossy());
    let file = FileReport::of_contents(kind, &shown, (name, reference), (name, candidate));
    Ok(Report { files: vec![file] })
}

/// `1 file`, `2 files`.
fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// `1 of 2 values differs`.
fn differ(n: usize, of: usize, noun: &str) -> String {
    format!("{n} of {} {}", count(of, noun), if n == 1 { "differs" } else { "differ" })
}
