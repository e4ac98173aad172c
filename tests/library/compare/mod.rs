//! `compare` on folders and files made here: its reports, what it must never call identical or close, and files that
//! nobody should trust.

mod folders;
mod options;
mod tables;
mod tensors;
mod texts;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::words;
use islp_mnist::compare::{Options, Tolerance, Translation, Verdict, compare};
use islp_mnist::notebook::weights::canonical_name;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use tempfile::TempDir;

const METRICS: &str = "epoch,step,train_loss,valid_loss\r\n\
    0,49,1.5,\r\n\
    0,187,,0.26\r\n\
    1,375,0.39,0.19\r\n";

/// Two folders, `reference` and `candidate`, that vanish with the value.
struct Pair(TempDir);

impl Pair {
    fn new() -> Self {
        let pair = Pair(TempDir::new().unwrap());
        fs::create_dir(pair.path("reference")).unwrap();
        fs::create_dir(pair.path("candidate")).unwrap();
        pair
    }

    fn of(file: &str, reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> Self {
        Pair::new().sides(file, reference, candidate)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// The same path in both folders.
    fn sides(self, file: &str, reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> Self {
        self.with(&format!("reference/{file}"), reference).with(&format!("candidate/{file}"), candidate)
    }

    fn both(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        self.sides(file, &content, &content)
    }

    /// The report on these paths, with `DIR` for the folder around them, and the exit code.
    fn compare_paths(&self, reference: &str, candidate: &str, options: &str) -> (String, i32) {
        let (text, code) = compare_paths(&self.path(reference), &self.path(candidate), options);
        (text.replace(self.0.path().to_str().unwrap(), "DIR"), code)
    }

    fn compare(&self, options: &str) -> (String, i32) {
        self.compare_paths("reference", "candidate", options)
    }

    fn report(&self) -> String {
        self.compare("").0
    }

    fn code(&self, options: &str) -> i32 {
        self.compare(options).1
    }

    /// The same for one file of both folders.
    fn compare_file(&self, file: &str, options: &str) -> (String, i32) {
        self.compare_paths(&format!("reference/{file}"), &format!("candidate/{file}"), options)
    }
}

/// The report and the exit code of the program with these options, in this process, which is a hundred times as fast.
pub fn compare_paths(reference: &Path, candidate: &Path, options: &str) -> (String, i32) {
    let options = words(options);
    let value = |name: &str| {
        options.iter().position(|option| *option == name).map(|i| options[i + 1].parse().unwrap())
    };
    let (atol, rtol) = (value("--atol"), value("--rtol"));
    let tolerance =
        atol.or(rtol).map(|_| Tolerance { atol: atol.unwrap_or_default(), rtol: rtol.unwrap_or_default() });
    let allow_no_weights = options.contains(&"--allow-no-weights");
    let values = |name: &'static str| {
        options.windows(2).filter(move |pair| pair[0] == name).map(|pair| pair[1].to_owned())
    };
    let renames = values("--rename").map(|rename| rename.parse().unwrap()).collect();
    let translation = Translation { renames, transposed: values("--transpose").collect() };
    let with = Options { tolerance, rename: canonical_name, translation, allow_no_weights };
    let report = compare(reference, candidate, &with).unwrap();
    let (code, verdict) = match report.verdict() {
        Verdict::Identical => (0, "identical: "),
        Verdict::Close => (0, "close, not identical: "),
        Verdict::Different => (1, "different: "),
        Verdict::Incomparable => (2, "could not compare: "),
    };
    if options.contains(&"--json") {
        return (report.to_json(), code);
    }
    let text = report.to_string();
    assert!(text.lines().last().unwrap().starts_with(verdict), "{verdict}\n{text}");
    (text, code)
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn safetensors(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    serialize(views.collect::<Vec<_>>(), None).unwrap()
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A model of two tensors, `0.bias` with the given values.
fn model(bias: &[f32]) -> Vec<u8> {
    let weight = f32s(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    safetensors(&[
        ("0.bias", Dtype::F32, &[bias.len()], f32s(bias)),
        ("0.weight", Dtype::F32, &[2, 3], weight),
    ])
}
