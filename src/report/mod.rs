//! Pages: a run to look at, two runs side by side, or a study, as one HTML file that needs nothing else.
//!
//! Every number on a page is computed from what the runs left in their folders: metrics.csv, weights, run.json, and of two
//! runs what [`compare`] finds. The model looks at the test images once more. The templates are in
//! `templates/`; what comes from a run goes through them and is escaped there.

mod facts;
mod format;
mod pair;
mod parting;
mod pictures;
mod predictions;
mod run;
mod section;
mod statistics;
mod study;
mod texts;

use std::path::{Path, PathBuf};

use askama::Template;
use tch::Device;
use tch::vision::dataset::Dataset;

use crate::chart;
use crate::compare;
use crate::compare::Options;
use crate::islp;
use crate::notebook::weights;
use crate::study as studies;
use crate::util::file;
use crate::util::path::shown_path;
use pair::Pair;
pub use predictions::{Bin, Calibration, calibration};
use run::{Run, find};
use section::Section;
pub use statistics::{mcnemar, wilson};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("{}: holds neither metrics.csv nor weights, nor do the folders in it", .0.display())]
    NoRun(PathBuf),
    #[error("{}: holds {count} runs, too many for a page", folder.display())]
    ManyRuns { folder: PathBuf, count: usize },
    #[error("the model in {} has outputs that are not finite", .0.display())]
    Outputs(PathBuf),
    #[error("the model has outputs that are not finite")]
    NotFinite,
    #[error("cannot make a picture: {0}")]
    Picture(String),
    #[error("cannot fill in the page: {0}")]
    Template(askama::Error),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error(transparent)]
    Weights(#[from] weights::Error),
    #[error(transparent)]
    Islp(#[from] islp::Error),
    #[error(transparent)]
    Chart(#[from] chart::Error),
    #[error(transparent)]
    Compare(#[from] compare::Error),
    #[error(transparent)]
    Study(#[from] studies::Error),
    #[error(transparent)]
    Run(#[from] crate::run::Error),
}

// Not `#[from]`: what is in the message is no source besides.
impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Template(error)
    }
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    title: String,
    sections: Vec<Section>,
}

/// The page of the runs in these folders, each a version folder or one that holds some; as HTML.
///
/// ```
/// use islp_mnist::{report, torchvision};
/// use tch::Device;
///
/// let mnist = torchvision::load("tests/data/fashion-mnist".as_ref(), Device::Cpu)?;
/// let html = report::page(&["output/MNIST_MLR/version_0".as_ref()], &mnist, Device::Cpu)?;
/// assert!(html.contains("Confusion matrix"));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// A folder without a run, or with files that are no run's; short memory.
pub fn page(folders: &[&Path], mnist: &Dataset, device: Device) -> Result<String, Error> {
    let mut sections = vec![];
    for folder in folders {
        for (name, folder) in find(folder)? {
            let run = Run::read(&folder, name, mnist, device)?;
            sections.push(Section::new(&run, mnist, sections.len())?);
        }
    }
    let names: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
    let title = names.join(" and ");
    Ok(RunsPage { title, sections }.render()?)
}

/// The page of two runs, or of two folders of runs, held against each other; as HTML.
///
/// # Errors
/// As [`page`], and what [`compare::compare`] returns.
pub fn comparison(
    reference: &Path,
    candidate: &Path,
    mnist: &Dataset,
    device: Device,
) -> Result<String, Error> {
    let options = Options { rename: weights::canonical_name, ..Options::default() };
    let report = compare::compare(reference, candidate, &options)?;
    Ok(Pair { folders: [reference, candidate], report: &report, mnist, device }.page()?.render()?)
}

/// Whether a folder is that of a study.
pub fn is_study(folder: &Path) -> bool {
    folder.join(studies::STUDY_CSV).exists()
}

/// The page of the study in this folder; as HTML.
///
/// # Errors
/// No `study.csv` there, or one that is something else.
pub fn study(folder: &Path) -> Result<String, Error> {
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = shown_path(path.file_name().unwrap_or_default().as_ref());
    Ok(study::StudyPage::new(folder, format!("Study {name}"))?.render()?)
}
