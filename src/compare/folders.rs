//! Compares two folders: pairs their files, and finds each run's newest weights.
//!
//! A run writes its weights to `model.safetensors` at its end. If it was stopped, or resumed and then stopped, its newest
//! weights are in its last checkpoint.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::options::OptionDifference;
use super::report::{FileReport, Found, Kind, Report};
use super::tensors::{Named, named};
use super::verdict::{Error, Incomparable, MAX_DEPTH};
use super::{Options, options};
use crate::torch::state_dict;
use crate::util::file;
use crate::util::text::shown;

/// The folder of a run's checkpoints, in its own.
const CHECKPOINTS: &str = "checkpoints";
/// The newest checkpoint: a link, or a copy where there are no links.
const LAST: &str = "checkpoints/last.safetensors";
/// A run's weights at its end.
const MODEL: &str = "model.safetensors";

pub fn compare_folders(reference: &Path, candidate: &Path, options: &Options) -> Result<Report, Error> {
    let sides = [Side::new("reference", reference)?, Side::new("candidate", candidate)?];
    if sides.iter().all(|side| side.listing.is_empty()) {
        return Err(Error::NoFiles(reference.to_owned(), candidate.to_owned()));
    }
    let [left, right] = sides.each_ref().map(|side| &side.listing);
    let mut weights: Vec<(&PathBuf, FileReport)> = vec![];
    for run in left.runs.union(&right.runs) {
        let newest = Newest::of(run, &sides, options).map(|newest| newest.report(&sides, options));
        weights.extend(newest.or_else(|| only_last(run, &sides)).map(|report| (run, report)));
    }
    let mut files = vec![];
    for file in left.files.union(&right.files) {
        // The weights' own report says if only one side has them in this file.
        let is_reported = file.ends_with(MODEL)
            && weights.iter().any(|(run, _)| file.parent() == Some(run.as_path()))
            && !(left.files.contains(file) && right.files.contains(file));
        if !is_reported {
            files.push(of_file(file, &sides, options)?);
        }
    }
    let without_weights = without_weights(&files, &weights, &sides);
    files.extend(weights.into_iter().map(|(_, report)| report));
    // Traces come last: they show why the others differ.
    files.sort_by_key(|file| (is_trace(file), file.paths[0].clone()));
    let mut report = Report::new(files, options);
    report.has_pickles =
        without_weights.iter().any(|run| sides.iter().any(|side| pickle_in(side.folder, run).is_some()));
    report.without_weights = without_weights.iter().map(|run| shown(&run.to_string_lossy())).collect();
    let [left, right] = sides.each_ref().map(|side| side.listing.run_json(side.folder));
    let mut differences = vec![];
    for file in left.intersection(&right) {
        differences.extend(options::differences(file, &reference.join(file), &candidate.join(file)));
    }
    // A run's trace repeats what its run.json says.
    report.options.retain(|setting| !differences.iter().any(|difference| difference.is_same(setting)));
    differences.append(&mut report.options);
    differences.sort_by_key(OptionDifference::rank);
    report.options = differences;
    Ok(report)
}

fn of_file(file: &Path, sides: &[Side; 2], options: &Options) -> Result<FileReport, Error> {
    let name = file.to_string_lossy();
    let mut report = match sides.each_ref().map(|side| side.listing.files.contains(file)) {
        [true, true] => {
            let [reference, candidate] = sides.each_ref().map(|side| side.folder.join(file));
            FileReport::of_files(Kind::of(file)?, &name, &reference, &candidate, options)
        }
        [is_left, _] => {
            let [side, other] = if is_left { [0, 1] } else { [1, 0] }.map(|i| &sides[i]);
            let run = file.parent().filter(|_| matches!(Kind::of(file), Ok(Kind::Tensors)));
            let pickle = run.and_then(|run| pickle_in(other.folder, run));
            only_in(side, &name, pickle)
        }
    };
    report.paths = [file.to_path_buf(), file.to_path_buf()];
    Ok(report)
}

/// Reports a run whose weights one side has in its last checkpoint, and the other side lacks.
fn only_last(run: &Path, sides: &[Side; 2]) -> Option<FileReport> {
    let is_weights =
        |file: &PathBuf| file.parent() == Some(run) && matches!(Kind::of(file), Ok(Kind::Tensors));
    if sides.iter().any(|side| side.listing.files.iter().any(is_weights)) {
        return None;
    }
    let (side, other) = match sides.each_ref().map(|side| side.last(run).is_some()) {
        [true, false] => (&sides[0], &sides[1]),
        [false, true] => (&sides[1], &sides[0]),
        _ => return None,
    };
    let path = run.join(LAST);
    let mut report = only_in(side, &path.to_string_lossy(), pickle_in(other.folder, run));
    report.paths = [path.clone(), path];
    Some(report)
}

fn only_in(side: &Side, name: &str, pickle: Option<PathBuf>) -> FileReport {
    FileReport::new(name, Found::Incomparable(Incomparable::only_in(side.name, pickle.as_deref())))
}

fn is_trace(report: &FileReport) -> bool {
    matches!(Kind::of(&report.paths[0]), Ok(Kind::Trace))
}

/// Returns the runs on both sides whose weights were not compared, neither those in a file nor, by their hashes, those in
/// a trace; an empty path, for the folder itself, if it contains no weights at all. A run whose file of weights is
/// incomparable is reported anyway.
fn without_weights(
    files: &[FileReport],
    weights: &[(&PathBuf, FileReport)],
    sides: &[Side; 2],
) -> BTreeSet<PathBuf> {
    let has_weights = |report: &FileReport| match &report.found {
        Found::Tensors(_) => report.tensors().iter().any(|tensor| !tensor.shape.contains(&0)),
        Found::Trace(trace) => trace.steps > 0,
        Found::Incomparable(_) => matches!(Kind::of(&report.paths[0]), Ok(Kind::Tensors | Kind::Trace)),
        _ => false,
    };
    let mut with: BTreeSet<&Path> =
        files.iter().filter(|file| has_weights(file)).filter_map(|file| file.paths[0].parent()).collect();
    with.extend(weights.iter().filter(|(_, report)| has_weights(report)).map(|(run, _)| run.as_path()));
    let runs = sides[0].listing.runs.intersection(&sides[1].listing.runs);
    let without: BTreeSet<PathBuf> = runs.filter(|run| !with.contains(run.as_path())).cloned().collect();
    let has_incomparable = files.iter().any(|file| matches!(file.found, Found::Incomparable(_)));
    if without.is_empty() && with.is_empty() && !has_incomparable { [PathBuf::new()].into() } else { without }
}

/// A folder that is compared.
struct Side<'a> {
    name: &'static str,
    folder: &'a Path,
    listing: Listing,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, folder: &'a Path) -> Result<Self, Error> {
        Ok(Self { name, folder, listing: Listing::of(folder)? })
    }

    fn model(&self, run: &Path) -> Option<PathBuf> {
        Some(run.join(MODEL)).filter(|path| self.listing.files.contains(path))
    }

    fn last(&self, run: &Path) -> Option<PathBuf> {
        self.listing.with_last.contains(run).then(|| run.join(LAST))
    }

    /// True if the last checkpoint's weights differ from `model.safetensors`, and so are newer: a run writes its weights
    /// together with its last checkpoint. A file that can't be read counts as different.
    fn is_ahead(&self, run: &Path, options: &Options) -> bool {
        let is_same = || {
            let read = |path| file::read(&self.folder.join(path), Kind::Tensors.limit()?).ok();
            let (model, last) = (read(self.model(run)?)?, read(self.last(run)?)?);
            let (model, last) = (state_dict::open(&model).ok()?, state_dict::open(&last).ok()?);
            let (model, last) = (named(&model, options.rename).ok()?, named(&last, options.rename).ok()?);
            let is_in_last = |(name, tensor): (&String, &Named)| {
                last.get(name).is_some_and(|other| other.has_same_bytes(tensor))
            };
            Some(model.iter().all(is_in_last))
        };
        self.model(run).and(self.last(run)).is_some() && !is_same().unwrap_or(false)
    }
}

/// The files with a run's newest weights, unless they are `model.safetensors` on both sides.
struct Newest {
    paths: [PathBuf; 2],
    /// True if one is a checkpoint and the other is not, so that only the weights can be compared.
    has_only_weights: bool,
    note: String,
}

impl Newest {
    /// None if both sides' newest weights are their `model.safetensors`, or one has none.
    fn of(run: &Path, sides: &[Side; 2], options: &Options) -> Option<Self> {
        let models = sides.each_ref().map(|side| side.model(run));
        let ahead = sides.each_ref().map(|side| side.is_ahead(run, options));
        if models.iter().all(Option::is_some) && ahead == [false; 2] {
            return None;
        }
        let why = |i: usize| match (&models[i], ahead[i]) {
            (None, _) => Some(format!("the {} has no {MODEL}", sides[i].name)),
            (_, true) => Some(format!("the {} was resumed after it wrote its {MODEL}", sides[i].name)),
            _ => None,
        };
        let why = if models == [None, None] {
            format!("neither side has a {MODEL}")
        } else {
            [why(0), why(1)].into_iter().flatten().collect::<Vec<_>>().join(" and ")
        };
        if let [Some(left), Some(right)] = sides.each_ref().map(|side| side.last(run)) {
            let note = format!("the last checkpoints are compared, because {why}");
            return Some(Self { paths: [left, right], has_only_weights: false, note });
        }
        let newest = |i: usize| models[i].clone().filter(|_| !ahead[i]).or_else(|| sides[i].last(run));
        let paths = [newest(0)?, newest(1)?];
        let note = format!("only the weights in these are compared, because {why}");
        Some(Self { paths, has_only_weights: true, note })
    }

    fn report(self, sides: &[Side; 2], options: &Options) -> FileReport {
        let [left, right] = &self.paths;
        let name = if left == right {
            left.to_string_lossy().into_owned()
        } else {
            format!("{} and {}", left.display(), right.display())
        };
        let [reference, candidate] = [sides[0].folder.join(left), sides[1].folder.join(right)];
        let report = FileReport::of_files(Kind::Tensors, &name, &reference, &candidate, options);
        let mut report = if self.has_only_weights { report.without_states() } else { report };
        (report.note, report.paths) = (Some(self.note), self.paths);
        report
    }
}

/// The files in a folder that can be compared, by path below it.
#[derive(Debug, Default)]
struct Listing {
    /// All except those in folders of checkpoints.
    files: BTreeSet<PathBuf>,
    /// The folders of runs, which have metrics, tensors or checkpoints.
    runs: BTreeSet<PathBuf>,
    /// The folders of runs that have a last checkpoint.
    with_last: BTreeSet<PathBuf>,
}

impl Listing {
    fn of(folder: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        listing.add(folder, Path::new(""))?;
        Ok(listing)
    }

    /// Lists a folder. A folder with a file's name is listed as a file, so that reading it gives an error.
    fn add(&mut self, root: &Path, below: &Path) -> Result<(), Error> {
        let folder = root.join(below);
        if below.components().count() > MAX_DEPTH {
            return Err(Error::TooDeep(folder));
        }
        for entry in fs::read_dir(&folder).map_err(file::Error::io("list", &folder))? {
            let name = entry.map_err(file::Error::io("list", &folder))?.file_name();
            let path = below.join(&name);
            let is_of_run = name == "metrics.csv" || matches!(Kind::of(&path), Ok(Kind::Tensors));
            if is_of_run || name == "stdout.txt" || matches!(Kind::of(&path), Ok(Kind::Trace)) {
                self.files.insert(path);
            } else if name == CHECKPOINTS {
                self.add_checkpoints(&folder, below);
                continue;
            } else if root.join(&path).is_dir() {
                self.add(root, &path)?;
            }
            if is_of_run {
                self.runs.insert(below.to_path_buf());
            }
        }
        Ok(())
    }

    fn add_checkpoints(&mut self, folder: &Path, below: &Path) {
        // A broken link is an error when it is read, not a missing checkpoint.
        let has_last = folder.join(LAST).symlink_metadata().is_ok();
        if has_last {
            self.with_last.insert(below.to_path_buf());
        }
        if has_last || pickle_in(folder, Path::new("")).is_some() {
            self.runs.insert(below.to_path_buf());
        }
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.with_last.is_empty()
    }

    /// The run.json files, by path below the folder.
    fn run_json(&self, folder: &Path) -> BTreeSet<PathBuf> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        let parents = parents.chain(self.runs.iter().map(PathBuf::as_path));
        parents.map(|parent| parent.join("run.json")).filter(|path| folder.join(path).is_file()).collect()
    }
}

/// Lightning's own checkpoint of a run, by path below the folder.
fn pickle_in(folder: &Path, run: &Path) -> Option<PathBuf> {
    let checkpoints = run.join(CHECKPOINTS);
    let entries = fs::read_dir(folder.join(&checkpoints)).ok()?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let pickles =
        names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "ckpt"));
    Some(checkpoints.join(pickles.max()?))
}
