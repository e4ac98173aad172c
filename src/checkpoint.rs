//! Checkpoints: everything that a run needs to go on as if it had never stopped. Lightning's lack the generator.
//!
//! A checkpoint is a safetensors file with the weights by their names in Python, RMSprop's `square_avg` as
//! `optimizer.square_avg.NAME`, the generator's state as `generator.state`, as `torch.set_rng_state` takes it, and the
//! rest as JSON in the file's metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Tensor, no_grad};

use crate::generator::Generator;
use crate::module::SimpleModule;
use crate::run::Run;
use crate::shown::{hex, shown};
use crate::tensor_file;
use crate::weights;

const METADATA: &str = "checkpoint";
const SQUARE_AVG: &str = "optimizer.square_avg.";
const GENERATOR: &str = "generator.state";
/// The folder of a run's checkpoints, in its own.
pub(crate) const FOLDER: &str = "checkpoints";
/// The newest of them.
pub(crate) const LAST: &str = "last.safetensors";

/// Where a run stands after an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch just finished, from 0.
    pub epoch: usize,
    /// Training steps taken in all.
    pub global_step: usize,
    /// Validation loss after that epoch, in nats; none if it was not finite.
    pub valid_loss: Option<f32>,
    /// SHA-256 of metrics.csv as it was then, in hexadecimal.
    pub metrics_sha256: String,
}

/// What a checkpoint's metadata say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Metadata {
    progress: Progress,
    run: Run,
    /// Of everything else in the file, see [`digest`].
    sha256: String,
}

/// A checkpoint read from disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// Where the run stood.
    pub progress: Progress,
    /// The run's options, and what else its results depend on.
    pub run: Run,
    path: PathBuf,
    weights: BTreeMap<String, Tensor>,
    square_avg: BTreeMap<String, Tensor>,
    generator: Vec<u8>,
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// What is no checkpoint, or one that is damaged. The message names the file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = weights::read(path)?;
        Self::parse(path, &bytes).with_context(|| shown(&path.display().to_string()))
    }

    /// The newest checkpoint of the run in `log_dir`, if it has one.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn last(log_dir: &Path) -> Result<Option<Self>> {
        let path = log_dir.join(FOLDER).join(LAST);
        // A link that leads nowhere is an error, not the absence of a checkpoint.
        if path.symlink_metadata().is_err() { Ok(None) } else { Self::load(&path).map(Some) }
    }

    /// The checkpoint in the bytes of the file `path`.
    ///
    /// # Errors
    /// As [`Checkpoint::load`], but for the file's name.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut views = weights::parse(bytes)?;
        let Metadata { progress, run, sha256: _ } = metadata(bytes, &views)?;
        let generator = views.get(GENERATOR).with_context(|| format!("lacks {GENERATOR}"))?;
        ensure!(generator.dtype() == Dtype::U8, "{GENERATOR} is of {}, not of U8", generator.dtype());
        let generator = generator.data().to_vec();
        views.remove(GENERATOR);
        let (mut weights, mut square_avg) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in weights::floats(views)? {
            match name.strip_prefix(SQUARE_AVG) {
                Some(parameter) => square_avg.insert(parameter.to_string(), tensor),
                None => weights.insert(name, tensor),
            };
        }
        Ok(Self { progress, run, path: path.to_path_buf(), weights, square_avg, generator })
    }

    /// Puts module and generator where they were.
    ///
    /// # Errors
    /// A checkpoint of another model; the message names what differs.
    pub fn restore(&self, module: &mut SimpleModule, generator: &Generator) -> Result<()> {
        let mut restore = || {
            weights::restore(module, &self.weights)?;
            let surplus = self.square_avg.keys().find(|name| !self.weights.contains_key(*name));
            ensure!(surplus.is_none(), "{SQUARE_AVG}{} is of no parameter", shown(surplus.map_or("", |s| s)));
            for (name, square_avg) in module.optimizer.square_avg_mut() {
                let saved = self.square_avg.get(name).with_context(|| format!("lacks {SQUARE_AVG}{name}"))?;
                ensure!(
                    saved.size() == square_avg.size(),
                    "{SQUARE_AVG}{name} is of shape {:?}, not {:?}",
                    saved.size(),
                    square_avg.size()
                );
                no_grad(|| square_avg.f_copy_(saved))?;
            }
            generator.set_state(&self.generator).context(GENERATOR)
        };
        restore().with_context(|| shown(&self.path.display().to_string()))
    }
}

/// What a checkpoint says besides its `tensors`, both as they were written.
///
/// # Errors
/// What is no checkpoint, or a damaged one.
pub(crate) fn metadata(bytes: &[u8], tensors: &BTreeMap<String, TensorView>) -> Result<Metadata> {
    let metadata = tensor_file::metadata(bytes, METADATA)?;
    let metadata = metadata.context("holds weights, but no checkpoint to go on from")?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("not a checkpoint of this version of islp-mnist")?;
    let Metadata { progress, run, sha256 } = &metadata;
    ensure!(digest(tensors, progress, run)? == *sha256, "damaged: it differs from what was written");
    let Progress { epoch, global_step, .. } = *progress;
    ensure!(
        epoch < run.options.run.epochs && epoch < global_step,
        "damaged: epoch {epoch} of {} cannot end with step {global_step}",
        run.options.run.epochs
    );
    Ok(metadata)
}

/// The bytes of a checkpoint.
///
/// # Errors
/// libtorch's, when memory is short.
pub(crate) fn serialize(
    module: &SimpleModule,
    generator: &Generator,
    progress: &Progress,
    run: &Run,
) -> Result<Vec<u8>> {
    let mut tensors: BTreeMap<String, Tensor> = module.vs.variables().into_iter().collect();
    for (name, square_avg) in module.optimizer.square_avg() {
        tensors.insert(format!("{SQUARE_AVG}{name}"), square_avg.shallow_clone());
    }
    tensors.insert(GENERATOR.to_string(), Tensor::f_from_slice(&generator.get_state())?);
    tensor_file::serialize(&tensors, |views| {
        let sha256 = digest(views, progress, run)?;
        let metadata = Metadata { progress: progress.clone(), run: run.clone(), sha256 };
        Ok(Some((METADATA, serde_json::to_string(&metadata)?)))
    })
}

/// SHA-256 of the tensors in the order of their names and of what else the metadata say, in hexadecimal.
fn digest(tensors: &BTreeMap<String, TensorView>, progress: &Progress, run: &Run) -> Result<String> {
    let mut sha256 = Sha256::new();
    for (name, view) in tensors {
        sha256.update(format!("{name} {} {:?}", view.dtype(), view.shape()));
        sha256.update(view.data());
    }
    sha256.update(serde_json::to_vec(&(progress, run))?);
    Ok(hex(&sha256.finalize()))
}
