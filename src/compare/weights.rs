//! Which weights of a run are compared: the newest that it has.
//!
//! Those are in `model.safetensors`, which a run writes at its end, or in its last checkpoint if it was stopped before, or
//! went on and was stopped then.

use std::path::{Path, PathBuf};

use super::files::{Kind, LAST, Listing, MODEL};
use super::found::FileReport;
use super::tensors::named;
use super::{Error, Options};
use crate::torch::state_dict;
use crate::util::file;

/// A folder that is compared.
pub struct Side<'a> {
    pub name: &'static str,
    pub folder: &'a Path,
    pub listing: Listing,
}

/// The files that hold a run's newest weights where these are not `model.safetensors` on both sides.
pub struct Newest {
    pub paths: [PathBuf; 2],
    /// Of a checkpoint and of mere weights only the weights can be compared.
    is_weights_alone: bool,
    note: String,
}

impl<'a> Side<'a> {
    pub fn new(name: &'static str, folder: &'a Path) -> Result<Self, Error> {
        Ok(Self { name, folder, listing: Listing::of(folder)? })
    }

    fn model(&self, run: &Path) -> Option<PathBuf> {
        Some(run.join(MODEL)).filter(|path| self.listing.files.contains(path))
    }

    pub fn last(&self, run: &Path) -> Option<PathBuf> {
        self.listing.with_last.contains(run).then(|| run.join(LAST))
    }

    /// Whether the last checkpoint holds other weights than `model.safetensors`, and so is newer: a run writes its
    /// weights with its last checkpoint. What can't be read counts as other.
    fn is_ahead(&self, run: &Path, options: &Options) -> bool {
        let is_same = || {
            let read = |path| file::read(&self.folder.join(path), Kind::Tensors.limit()?).ok();
            let (model, last) = (read(self.model(run)?)?, read(self.last(run)?)?);
            let (model, last) = (state_dict::open(&model).ok()?, state_dict::open(&last).ok()?);
            let (model, last) = (named(&model, options.rename).ok()?, named(&last, options.rename).ok()?);
            let is_in_last = |(name, tensor): (&String, &super::tensors::Named)| {
                last.get(name).is_some_and(|other| other.has_same_bytes(tensor))
            };
            Some(model.iter().all(is_in_last))
        };
        self.model(run).and(self.last(run)).is_some() && !is_same().unwrap_or(false)
    }
}

impl Newest {
    /// None if both sides' newest weights are their `model.safetensors`, or one has none.
    pub fn of(run: &Path, sides: &[Side; 2], options: &Options) -> Option<Self> {
        let models = sides.each_ref().map(|side| side.model(run));
        let ahead = sides.each_ref().map(|side| side.is_ahead(run, options));
        if models.iter().all(Option::is_some) && ahead == [false; 2] {
            return None;
        }
        let why = |i: usize| match (&models[i], ahead[i]) {
            (None, _) => Some(format!("the {} has no {MODEL}", sides[i].name)),
            (_, true) => Some(format!("the {} has gone on since it wrote its {MODEL}", sides[i].name)),
            _ => None,
        };
        let why = if models == [None, None] {
            format!("neither side has a {MODEL}")
        } else {
            [why(0), why(1)].into_iter().flatten().collect::<Vec<_>>().join(" and ")
        };
        if let [Some(left), Some(right)] = sides.each_ref().map(|side| side.last(run)) {
            let note = format!("the last checkpoints are compared, because {why}");
            return Some(Self { paths: [left, right], is_weights_alone: false, note });
        }
        let newest = |i: usize| models[i].clone().filter(|_| !ahead[i]).or_else(|| sides[i].last(run));
        let paths = [newest(0)?, newest(1)?];
        let note = format!("only the weights in these are compared, because {why}");
        Some(Self { paths, is_weights_alone: true, note })
    }

    pub fn report(self, sides: &[Side; 2], options: &Options) -> FileReport {
        let [left, right] = &self.paths;
        let name = if left == right {
            left.to_string_lossy().into_owned()
        } else {
            format!("{} and {}", left.display(), right.display())
        };
        let [reference, candidate] = [sides[0].folder.join(left), sides[1].folder.join(right)];
        let report = FileReport::of_files(Kind::Tensors, &name, &reference, &candidate, options);
        let mut report = if self.is_weights_alone { report.without_states() } else { report };
        (report.note, report.paths) = (Some(self.note), self.paths);
        report
    }
}
