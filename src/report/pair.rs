//! Two runs, or two folders of runs, held against each other: what their page shows.

use std::path::Path;

use askama::Template;
use sha2::{Digest, Sha256};
use tch::Device;
use tch::vision::dataset::Dataset;

use super::Error;
use super::facts::{Fact, facts_of_both};
use super::format::{Chart, percent, thousands};
use super::parting::{Parting, partings};
use super::pictures::{self, Picture};
use super::run::{Run, find};
use super::section::figures;
use super::statistics::mcnemar;
use super::texts::{Texts, texts};
use crate::chart::{Figure, Picture as _, share_limits};
use crate::compare::{FileReport, Report, Verdict};
use crate::torch::state_dict;
use crate::util::file;
use crate::util::text::{count, hex, shown};

/// A parity run's weights have 1 MB, its trace 40 MB.
pub const MAX_BYTES: u64 = 1 << 30;
/// Of more images whose answer flips only so many are shown.
const MAX_FLIPS: usize = 60;

/// What a page of two is made of.
pub struct Pair<'a> {
    /// The reference's and the candidate's.
    pub folders: [&'a Path; 2],
    pub report: &'a Report,
    pub mnist: &'a Dataset,
    pub device: Device,
}

/// The page.
#[derive(Template)]
#[template(path = "comparison.html")]
pub struct PairPage {
    title: String,
    verdict: &'static str,
    sentence: String,
    names: [String; 2],
    /// How many files and tensors.
    compared: String,
    values: String,
    files: Vec<FileRow>,
    tensors: Vec<TensorRow>,
    options: Vec<String>,
    made: Vec<Made>,
    partings: Vec<Parting>,
    runs: Vec<RunPair>,
    texts: Vec<Texts>,
}

/// How the pairs of runs with these names were made, all in the same way.
struct Made {
    names: String,
    facts: Vec<Fact>,
}

/// A file that was compared, with the SHA-256 of both sides, or of one where they have the same.
struct FileRow {
    name: String,
    found: String,
    verdict: &'static str,
    hashes: Vec<String>,
}

/// A tensor likewise.
struct TensorRow {
    name: String,
    shape: String,
    found: String,
    hash: String,
}

/// A run of the reference and the candidate's of the same name.
struct RunPair {
    name: String,
    figures: Vec<[Chart; 2]>,
    duel: Option<Duel>,
}

/// Which of the two models has which test images right.
struct Duel {
    both: String,
    neither: String,
    only: [String; 2],
    p_value: String,
    flips: usize,
    pictures: Vec<Picture>,
}

impl Pair<'_> {
    pub fn page(&self) -> Result<PairPage, Error> {
        let names = self.folders.map(|folder| shown(&folder.to_string_lossy()));
        let told = self.report.to_string();
        let (files, tensors) = self.files()?;
        let runs = self.runs()?;
        Ok(PairPage {
            title: format!("{} and {}", names[0], names[1]),
            verdict: verdict(self.report.verdict()),
            sentence: told.lines().last().unwrap_or_default().to_owned(),
            compared: format!("{} and {}", count(files.len(), "file"), count(tensors.len(), "tensor")),
            values: self.values(),
            files,
            tensors,
            options: self.report.options.iter().map(ToString::to_string).collect(),
            made: made(&runs),
            partings: partings(self.report, &runs)?,
            runs: runs.iter().map(|(name, pair)| self.run(name, pair)).collect::<Result<_, _>>()?,
            texts: texts(self.report, self.folders)?,
            names,
        })
    }

    /// How many values the compared tensors have.
    fn values(&self) -> String {
        let tensors = self.report.files.iter().flat_map(FileReport::tensors);
        thousands(tensors.map(|tensor| tensor.shape.iter().product::<usize>()).sum())
    }

    fn files(&self) -> Result<(Vec<FileRow>, Vec<TensorRow>), Error> {
        let (mut files, mut tensors) = (vec![], vec![]);
        for report in &self.report.files {
            let contents: [_; 2] =
                std::array::from_fn(|i| file::read(&self.folders[i].join(&report.paths[i]), MAX_BYTES).ok());
            let mut hashes: Vec<_> =
                contents.iter().flatten().map(|bytes| hex(&Sha256::digest(bytes))).collect();
            hashes.dedup();
            let told = report.found.to_string();
            let told = told.lines().next().unwrap_or_default();
            files.push(FileRow {
                name: report.name.clone(),
                found: report.note.as_ref().map_or(told.to_owned(), |note| format!("{told}; {note}")),
                verdict: verdict(report.verdict),
                hashes,
            });
            let views = contents[0].as_deref().and_then(|bytes| state_dict::open(bytes).ok());
            for tensor in report.tensors() {
                let view = views.as_ref().and_then(|views| views.tensor(&tensor.written).ok());
                tensors.push(TensorRow {
                    name: format!("{}: {}", report.name, tensor.name),
                    shape: format!("{:?}", tensor.shape),
                    found: tensor.difference.as_ref().map_or("identical".into(), ToString::to_string),
                    hash: view.map_or(String::new(), |view| hex(&Sha256::digest(view.data()))),
                });
            }
        }
        Ok((files, tensors))
    }

    /// The runs that both have, by name; where each side is one run, the two.
    fn runs(&self) -> Result<Vec<(String, [Run; 2])>, Error> {
        let [reference, candidate] = self.folders;
        let (left, right) = (find(reference)?, find(candidate)?);
        let is_single = left.len() == 1 && right.len() == 1;
        let mut runs = vec![];
        for (name, folder) in &left {
            let other = right.iter().find(|(other, _)| is_single || other == name);
            let Some((other_name, other)) = other else { continue };
            let read =
                |folder: &Path, name: &str| Run::read(folder, name.to_owned(), self.mnist, self.device);
            let shown = if name == other_name { name.clone() } else { format!("{name} and {other_name}") };
            runs.push((shown, [read(folder, name)?, read(other, other_name)?]));
        }
        Ok(runs)
    }

    fn run(&self, name: &str, runs: &[Run; 2]) -> Result<RunPair, Error> {
        let [left, right] = runs.each_ref().map(figures);
        let mut pairs = vec![];
        for (left, what) in left {
            let is_same = |(figure, _): &&(Figure, String)| figure.metric() == left.metric();
            let Some((right, other)) = right.iter().find(is_same).cloned() else { continue };
            let mut two = [left, right];
            share_limits(&mut two);
            let is_log = two.iter().all(|figure| figure.log_y);
            two.iter_mut().for_each(|figure| figure.log_y = is_log);
            let [left, right] = two;
            let captions = [format!("Reference: {what}"), format!("Candidate: {other}")];
            let [a, b] = captions;
            pairs.push([Chart::new(&left.to_svg()?, a), Chart::new(&right.to_svg()?, b)]);
        }
        Ok(RunPair { name: name.to_owned(), figures: pairs, duel: self.duel(runs)? })
    }

    fn duel(&self, runs: &[Run; 2]) -> Result<Option<Duel>, Error> {
        let [Some((_, left)), Some((_, right))] = runs.each_ref().map(|run| run.model.as_ref()) else {
            return Ok(None);
        };
        let images = left.truths.len();
        let count = |a: bool, b: bool| {
            (0..images).filter(|&image| (left.is_right(image), right.is_right(image)) == (a, b)).count()
        };
        let only = [count(true, false), count(false, true)];
        let flips: Vec<usize> =
            (0..images).filter(|&image| left.guesses[image] != right.guesses[image]).collect();
        let picture = |&image: &usize| {
            let said = [left, right].map(|side| {
                let guess = side.guesses[image];
                format!("{guess} with {}", percent(side.probability(image, guess).into()))
            });
            let truth = left.truths[image];
            let caption = format!("{truth}: reference {}, candidate {}", said[0], said[1]);
            Ok(Picture {
                source: pictures::digit(&self.mnist.test_images, image)?,
                alt: format!("Test image {image}, {caption}"),
                caption,
            })
        };
        Ok(Some(Duel {
            both: thousands(count(true, true)),
            neither: thousands(count(false, false)),
            only: only.map(thousands),
            p_value: p_value(mcnemar(only[0] as u64, only[1] as u64)),
            flips: flips.len(),
            pictures: flips.iter().take(MAX_FLIPS).map(picture).collect::<Result<_, Error>>()?,
        }))
    }
}

/// One entry for all pairs if they say the same, as the two runs of a notebook do.
fn made(runs: &[(String, [Run; 2])]) -> Vec<Made> {
    let mut made: Vec<Made> = vec![];
    for (name, pair) in runs {
        let facts = facts_of_both(pair);
        match made.iter_mut().find(|before| before.facts == facts) {
            Some(before) => before.names = format!("{} and {name}", before.names),
            None => made.push(Made { names: name.clone(), facts }),
        }
    }
    made
}

fn p_value(p: f64) -> String {
    if p == 0.0 {
        "0 as far as can be told".into()
    } else if p < 0.0001 {
        format!("{p:.1e}")
    } else {
        format!("{p:.4}")
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "identical",
        Verdict::Close => "close",
        Verdict::Different => "different",
        Verdict::Incomparable => "incomparable",
    }
}
