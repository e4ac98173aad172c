//! Two folders, file by file, and of each run its newest weights.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::{Kind, LAST, MODEL, pickle_in};
use super::found::{FileReport, Found};
use super::report::Report;
use super::weights::{Newest, Side};
use super::{Error, Options, options};
use crate::util::text::shown;

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
        // That only one side has its weights in a file of their own has been told.
        let is_told = file.ends_with(MODEL)
            && weights.iter().any(|(run, _)| file.parent() == Some(run.as_path()))
            && !(left.files.contains(file) && right.files.contains(file));
        if !is_told {
            files.push(of_file(file, &sides, options)?);
        }
    }
    let without_weights = without_weights(&files, &weights, &sides);
    files.extend(weights.into_iter().map(|(_, report)| report));
    // Traces last: they say why the others differ.
    files.sort_by_key(|file| (is_trace(file), file.paths[0].clone()));
    let mut report = Report::new(files, options);
    report.has_pickles =
        without_weights.iter().any(|run| sides.iter().any(|side| pickle_in(side.folder, run).is_some()));
    report.without_weights = without_weights.iter().map(|run| shown(&run.to_string_lossy())).collect();
    let [left, right] = sides.each_ref().map(|side| side.listing.run_json(side.folder));
    for file in left.intersection(&right) {
        report.options.extend(options::differences(file, &reference.join(file), &candidate.join(file)));
    }
    Ok(report)
}

fn of_file(file: &Path, sides: &[Side; 2], options: &Options) -> Result<FileReport, Error> {
    let name = file.to_string_lossy();
    let has = sides.each_ref().map(|side| side.listing.files.contains(file));
    let mut report = match has {
        [true, true] => {
            let [reference, candidate] = sides.each_ref().map(|side| side.folder.join(file));
            FileReport::of_files(Kind::of(file)?, &name, &reference, &candidate, options)
        }
        [is_left, _] => {
            let (side, other) = if is_left { (&sides[0], &sides[1]) } else { (&sides[1], &sides[0]) };
            let run = file.parent().filter(|_| matches!(Kind::of(file), Ok(Kind::Tensors)));
            let pickle = run.and_then(|run| pickle_in(other.folder, run));
            FileReport::incomparable_beside(&name, &format!("only in the {}", side.name), pickle)
        }
    };
    report.paths = [file.to_path_buf(), file.to_path_buf()];
    Ok(report)
}

/// Of a run whose weights are in the last checkpoint of one side, and nowhere on the other.
fn only_last(run: &Path, sides: &[Side; 2]) -> Option<FileReport> {
    let is_elsewhere = |side: &Side| side.listing.files.iter().any(|file| is_weights_of(file, run));
    if sides.iter().any(is_elsewhere) {
        return None;
    }
    let (side, other) = match sides.each_ref().map(|side| side.last(run).is_some()) {
        [true, false] => (&sides[0], &sides[1]),
        [false, true] => (&sides[1], &sides[0]),
        _ => return None,
    };
    let (path, pickle) = (run.join(LAST), pickle_in(other.folder, run));
    let reason = format!("only in the {}", side.name);
    let mut report = FileReport::incomparable_beside(&path.to_string_lossy(), &reason, pickle);
    report.paths = [path.clone(), path];
    Some(report)
}

fn is_weights_of(file: &Path, run: &Path) -> bool {
    file.parent() == Some(run) && matches!(Kind::of(file), Ok(Kind::Tensors))
}

fn is_trace(report: &FileReport) -> bool {
    matches!(Kind::of(&report.paths[0]), Ok(Kind::Trace))
}

/// The runs of both sides of which no weights were compared, neither those in a file nor, by their hashes, those in a
/// trace. The folder itself if nothing in it holds any. What was found to be incomparable is told anyway.
fn without_weights(
    files: &[FileReport],
    weights: &[(&PathBuf, FileReport)],
    sides: &[Side; 2],
) -> BTreeSet<PathBuf> {
    let holds = |report: &FileReport| match &report.found {
        Found::Tensors { tensors, .. } => tensors.iter().any(|tensor| !tensor.shape.contains(&0)),
        Found::Trace(trace) => trace.steps > 0,
        Found::Incomparable { .. } => matches!(Kind::of(&report.paths[0]), Ok(Kind::Tensors | Kind::Trace)),
        _ => false,
    };
    let mut with: BTreeSet<&Path> =
        files.iter().filter(|file| holds(file)).filter_map(|file| file.paths[0].parent()).collect();
    with.extend(weights.iter().filter(|(_, report)| holds(report)).map(|(run, _)| run.as_path()));
    let runs = sides[0].listing.runs.intersection(&sides[1].listing.runs);
    let without: BTreeSet<PathBuf> = runs.filter(|run| !with.contains(run.as_path())).cloned().collect();
    let is_all_told = files.iter().any(|file| matches!(file.found, Found::Incomparable { .. }));
    if without.is_empty() && with.is_empty() && !is_all_told { [PathBuf::new()].into() } else { without }
}
