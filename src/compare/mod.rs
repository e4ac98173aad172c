//! `islp-mnist compare`: are two runs identical, and if not, where do they first differ?
//!
//! Takes two output folders, two version folders or two files of one kind, and returns a [`Report`]. `metrics.csv`,
//! `stdout.txt` and every tensor of a `*.safetensors`, whose header may differ, are compared by bytes; every step of a
//! `*.trace` by hashes. Files of two folders are paired by their path below the folder. Pictures are skipped, and so are
//! folders named `checkpoints` (Lightning fills them with pickles), unless such a folder is itself an argument or contains
//! a run's newest weights. A prefix that a wrapper in Python puts before every name, such as `module.`, is ignored.
//!
//! A comparison is a proof of parity. So a file that can't be read is [`Verdict::Incomparable`], never equal, and so is a
//! run whose weights were not compared.
//!
//! ```
//! use islp_mnist::compare::{Options, Report, Verdict, compare};
//!
//! let folder = tempfile::tempdir()?;
//! let (reference, candidate) = (folder.path().join("python.csv"), folder.path().join("rust.csv"));
//! std::fs::write(&reference, "epoch,step,valid_loss\r\n0,187,0.25\r\n1,375,0.125\r\n")?;
//! std::fs::write(&candidate, "epoch,step,valid_loss\r\n0,187,0.25\r\n1,375,0.5\r\n")?;
//!
//! let report: Report = compare(&reference, &candidate, &Options::default())?;
//! assert_eq!(report.verdict(), Verdict::Different);
//! let first = "first in row 2 (epoch 1, step 375), valid_loss: reference 0.125, candidate 0.5 (0.375 apart)";
//! assert!(report.to_string().contains(first));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cause;
mod distance;
mod folders;
mod metrics;
mod numbers;
mod options;
mod report;
mod step;
mod table;
mod tensors;
mod text;
mod trace;
mod translation;
mod verdict;

use std::fs;
use std::path::Path;

pub use numbers::Tolerance;
pub(crate) use options::{GIT_COMMIT, OWN_VERSIONS};
pub use report::Report;
pub(crate) use report::{FileReport, Found};
pub(crate) use trace::Growth;
pub use translation::{Rename, Translation};
pub use verdict::{Error, Verdict};

use crate::util::file;
use folders::compare_folders;
use report::Kind;

/// Options of a comparison.
///
/// ```
/// use islp_mnist::compare::{Options, Tolerance};
///
/// let bits = Options::default();
/// assert_eq!(bits.tolerance, None);
/// let close = Options { tolerance: Some(Tolerance { atol: 1e-8, rtol: 1e-5 }), ..bits };
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// For ports that do not promise the same bits. None, the default, requires them.
    pub tolerance: Option<Tolerance>,
    /// Maps each name of a tensor that has several to its main name; the identity by default.
    pub rename: fn(&str) -> String,
    /// The candidate's names and layouts, where they are not the reference's; none by default.
    pub translation: Translation,
    /// Judges a run whose weights were not compared by its other files. By default it is [`Verdict::Incomparable`].
    pub allow_no_weights: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tolerance: None,
            rename: str::to_owned,
            translation: Translation::default(),
            allow_no_weights: false,
        }
    }
}

/// Compares two folders or two files. A file that could not be compared is an entry of the report, like those that could.
///
/// # Errors
/// Fails if there is nothing to compare: a path can't be read, the two are of different kinds or of an unknown one, or the
/// folders contain no file to compare.
pub fn compare(reference: &Path, candidate: &Path, options: &Options) -> Result<Report, Error> {
    match (is_folder(reference)?, is_folder(candidate)?) {
        (true, true) => compare_folders(reference, candidate, options),
        (false, false) if Kind::of(reference)? == Kind::of(candidate)? => {
            let name = match (reference.file_name(), candidate.file_name()) {
                (Some(left), Some(right)) if left == right => left.to_string_lossy().into_owned(),
                _ => format!("{} and {}", reference.display(), candidate.display()),
            };
            let file = FileReport::of_files(Kind::of(reference)?, &name, reference, candidate, options);
            Ok(Report::new(vec![file], options))
        }
        _ => Err(Error::TwoKinds(reference.to_owned(), candidate.to_owned())),
    }
}

/// Compares the contents of two files of the same name, whose extension gives their kind.
///
/// # Errors
/// Fails if the name has an unknown extension.
pub fn compare_contents(name: &Path, reference: &[u8], candidate: &[u8]) -> Result<Report, Error> {
    let (kind, shown, options) = (Kind::of(name)?, name.to_string_lossy(), Options::default());
    let file = FileReport::of_contents(kind, &shown, (name, reference), (name, candidate), &options);
    Ok(Report::new(vec![file], &options))
}

fn is_folder(path: &Path) -> Result<bool, Error> {
    Ok(fs::metadata(path).map_err(file::Error::io("read", path))?.is_dir())
}
