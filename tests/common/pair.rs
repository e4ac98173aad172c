//! Two folders or files for `compare`, made here.

use std::fs;
use std::path::PathBuf;

use islp_mnist::compare::{Options, Verdict, compare};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use tempfile::TempDir;

pub const METRICS: &str = "epoch,step,train_loss,valid_loss\r\n\
    0,49,1.5,\r\n\
    0,187,,0.26\r\n\
    1,375,0.39,0.19\r\n";

/// Two folders, `reference` and `candidate`, that vanish with the value.
pub struct Pair(pub TempDir);

impl Pair {
    pub fn new() -> Self {
        let pair = Pair(TempDir::new().unwrap());
        fs::create_dir(pair.path("reference")).unwrap();
        fs::create_dir(pair.path("candidate")).unwrap();
        pair
    }

    /// The same path on both sides.
    pub fn of(file: &str, reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> Self {
        let [left, right] = ["reference", "candidate"].map(|side| format!("{side}/{file}"));
        Pair::new().with(&left, reference).with(&right, candidate)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn both(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        self.with(&format!("reference/{file}"), &content).with(&format!("candidate/{file}"), &content)
    }

    /// The report on the two folders, with `DIR` for the folder around them.
    pub fn report(&self) -> String {
        self.report_on("reference", "candidate")
    }

    pub fn report_on(&self, reference: &str, candidate: &str) -> String {
        let report = compare(&self.path(reference), &self.path(candidate), &Options::default()).unwrap();
        let text = report.to_string();
        let verdict = match report.verdict() {
            Verdict::Identical => "identical: ",
            Verdict::Close => "close, not identical: ",
            Verdict::Different => "different: ",
            Verdict::Incomparable => "could not compare: ",
        };
        assert!(text.lines().last().unwrap().starts_with(verdict), "{verdict}\n{text}");
        text.replace(self.0.path().to_str().unwrap(), "DIR")
    }
}

pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn safetensors(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    serialize(views.collect::<Vec<_>>(), None).unwrap()
}

pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A model of two tensors, `0.bias` with the given values.
pub fn model(bias: &[f32]) -> Vec<u8> {
    let weight = f32s(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    safetensors(&[
        ("0.bias", Dtype::F32, &[bias.len()], f32s(bias)),
        ("0.weight", Dtype::F32, &[2, 3], weight),
    ])
}
