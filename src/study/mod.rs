//! A study: the same training with many seeds, to tell the model from luck.
//!
//! Its folder contains `study.json` with the options that all runs share, one folder per run under `runs/`, and the
//! results in `study.csv`.
//!
//! ```
//! use islp_mnist::study::{Summary, rows_in};
//!
//! let summary = Summary::new(&rows_in("output/study".as_ref())?);
//! let mlp = &summary.distributions[0];
//! assert_eq!(mlp.accuracies.len(), 100);
//! assert!(mlp.mean.low < mlp.mean.value && mlp.mean.value < mlp.mean.high);
//! println!("{summary}");
//! # Ok::<(), islp_mnist::study::Error>(())
//! ```

mod figures;
mod logs;
mod run;
mod summary;

use std::path::PathBuf;

use crate::chart;
use crate::util::file;
pub(crate) use figures::ACCURACY;
pub use figures::{Picture, pictures};
pub use logs::{Log, LogError, logs_in};
pub use run::{Key, ModelName, Row, Varied, newest_version, rows_in, to_csv};
pub use summary::{
    Difference, Distribution, FEW, Interval, Summary, binomial_error, bootstrap_mean, mean, outperforms,
    quantile, seeds_needed, standard_deviation,
};

/// File with one row per run.
pub const STUDY_CSV: &str = "study.csv";
/// File with the options of all runs.
pub const STUDY_JSON: &str = "study.json";
/// Subfolder with the runs.
pub const RUNS: &str = "runs";

/// Why a study can't be read or drawn.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("{}: not the {STUDY_CSV} of a study: {reason}", path.display())]
    Csv { path: PathBuf, reason: csv::Error },
    #[error("{}: not the {STUDY_CSV} of a study: its columns are others", path.display())]
    Columns { path: PathBuf },
    #[error("cannot write {STUDY_CSV}: {0}")]
    Write(String),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error(transparent)]
    Chart(#[from] chart::Error),
}
