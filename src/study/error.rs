//! What goes wrong with a study's files.

use std::path::PathBuf;

use crate::chart;
use crate::util::file;

/// Why a study can't be read or shown.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("{}: not the {} of a study: {reason}", path.display(), super::STUDY_CSV)]
    Csv { path: PathBuf, reason: csv::Error },
    #[error("cannot make study.csv: {0}")]
    Write(String),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error(transparent)]
    Chart(#[from] chart::Error),
}
