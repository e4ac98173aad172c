//! A study: the same training with many seeds, to tell the model from luck.
//!
//! Its folder holds `study.json` with the options that all runs share, a folder of every run under `runs/`, and their
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

mod error;
mod figures;
mod key;
mod row;
mod statistics;
mod summary;

pub use error::Error;
pub(crate) use figures::ACCURACY;
pub use figures::{Picture, pictures};
pub use key::{Key, Varied, newest_version};
pub use row::{Row, rows_in, to_csv};
pub use statistics::{
    Interval, binomial_error, bootstrap_mean, mean, outperforms, quantile, standard_deviation,
};
pub use summary::{Difference, Distribution, Summary};

/// The file with a row of every run.
pub const STUDY_CSV: &str = "study.csv";
/// The file with the options of all runs.
pub const STUDY_JSON: &str = "study.json";
/// The folder of the runs, in the study's.
pub const RUNS: &str = "runs";
