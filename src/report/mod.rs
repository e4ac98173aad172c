//! Pages of one run, of two that are compared, of several, or of a study. Each is one self-contained HTML file.
//!
//! All numbers on a page are computed from the files of the runs: metrics.csv, weights and run.json; for two runs also
//! from the findings of [`compare`]. The model is evaluated on the test images again. The templates in `templates/`
//! escape everything that comes from a run.

mod better;
mod comparison;
mod dropout;
mod many;
mod numbers;
mod pictures;
mod predictions;
mod proof;
mod run;
mod section;
mod study;
mod texts;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use askama::Template;
use tch::Device;
use tch::vision::dataset::Dataset;

use crate::chart;
use crate::compare::{self, Options};
use crate::islp;
use crate::notebook::weights;
use crate::study as studies;
use crate::torchvision;
use crate::util::file;
use comparison::Pair;
use many::{MAX_RUNS, ManyPage};
pub use predictions::{Bin, Calibration, calibration, mcnemar, paired_difference, wilson};
use run::{Run, find};
use section::Section;

/// Why a page can't be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("{}: contains neither metrics.csv nor weights, and neither do its subfolders", .0.display())]
    NoRun(PathBuf),
    #[error("{}: contains {count} runs, too many for one page", folder.display())]
    ManyRuns { folder: PathBuf, count: usize },
    #[error("{0} runs are too many for one page, which takes up to {MAX_RUNS}")]
    TooManyRuns(usize),
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
    Data(#[from] torchvision::Error),
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

// Not `#[from]`: the message already contains the error, so it must not be the source as well.
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

/// The test images of a data folder, loaded once a model needs them: runs of other models have a page without them.
#[derive(Debug)]
pub struct TestImages<'a> {
    data_dir: &'a Path,
    device: Device,
    loaded: OnceCell<Dataset>,
}

impl<'a> TestImages<'a> {
    /// The test images in this folder, on this device.
    pub fn new(data_dir: &'a Path, device: Device) -> Self {
        Self { data_dir, device, loaded: OnceCell::new() }
    }

    /// The same, already loaded.
    pub fn loaded(data_dir: &'a Path, device: Device, dataset: Dataset) -> Self {
        Self { data_dir, device, loaded: dataset.into() }
    }

    /// True if a model has needed them.
    pub fn are_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    fn get(&self) -> Result<&Dataset, Error> {
        if self.loaded.get().is_none() {
            let _ = self.loaded.set(torchvision::load(self.data_dir, self.device)?);
        }
        Ok(self.loaded.get().expect("they are loaded"))
    }
}

/// Returns the HTML page of the runs in these folders. Each is a version folder or contains some.
///
/// ```
/// use islp_mnist::report::{self, TestImages};
/// use tch::Device;
///
/// let images = TestImages::new("tests/data/fashion-mnist".as_ref(), Device::Cpu);
/// let html = report::page(&["output/MNIST_MLR/version_0".as_ref()], &images)?;
/// assert!(html.contains("Confusion matrix"));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// A folder contains no run or too many, a file of a run or the test images can't be read or parsed, the model has outputs
/// that are not finite, or memory is short.
pub fn page(folders: &[&Path], images: &TestImages) -> Result<String, Error> {
    let mut sections = vec![];
    for folder in folders {
        for (name, folder) in find(folder)? {
            let run = Run::read(&folder, name, images)?;
            sections.push(Section::new(&run, images, sections.len())?);
        }
    }
    let names: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
    let title = names.join(" and ");
    Ok(RunsPage { title, sections }.render()?)
}

/// Returns the HTML page that compares two runs, or two folders of runs.
///
/// # Errors
/// Those of [`page`] and of [`compare::compare`].
pub fn comparison(reference: &Path, candidate: &Path, images: &TestImages) -> Result<String, Error> {
    let options = Options { rename: weights::canonical_name, ..Options::default() };
    let report = compare::compare(reference, candidate, &options)?;
    Ok(Pair { folders: [reference, candidate], report: &report, images }.page()?.render()?)
}

/// Returns the HTML page of more than two runs: their results in one table, their curves in one picture.
///
/// # Errors
/// Those of [`page`].
pub fn many(folders: &[&Path], images: &TestImages) -> Result<String, Error> {
    Ok(ManyPage::new(folders, images)?.render()?)
}

/// True if the folder contains a study.
pub fn is_study(folder: &Path) -> bool {
    folder.join(studies::STUDY_CSV).exists()
}

/// Returns the HTML page of the study in this folder.
///
/// # Errors
/// `study.csv` or another file of the study can't be read or parsed.
pub fn study(folder: &Path) -> Result<String, Error> {
    Ok(study::StudyPage::new(folder)?.render()?)
}
