//! `pytorch_lightning.callbacks.ModelCheckpoint`: saves a run's checkpoints and removes old ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tch::Tensor;

use super::checkpoint::{Checkpoint, FOLDER, LAST, TrainerState, serialize};
use super::error::Error;
use crate::islp::{self, SimpleModule};
use crate::torch::Generator;
use crate::util::file;

/// A symlink to the checkpoint with the lowest validation loss, as `LAST` is to the newest. Both are copies on a file
/// system without symlinks, like Lightning's, and in a folder that was copied with its symlinks followed.
const BEST: &str = "best.safetensors";

/// `ModelCheckpoint(every_n_epochs, monitor='valid_loss', save_last='link')`: keeps the latest and the best checkpoint
/// of a run as `checkpoints/epoch=E-step=S.safetensors`, with the symlinks `last.safetensors` and `best.safetensors`.
/// With `every_n_train_steps`, the latest may be within an epoch.
///
/// ```
/// use islp_mnist::lightning::{Checkpoint, CsvLogger, ModelCheckpoint, Trainer};
/// use islp_mnist::torch::Generator;
///
/// let folder = tempfile::tempdir()?;
/// let logger = CsvLogger::new(folder.path(), "run")?;
/// let log_dir = logger.log_dir().to_path_buf();
/// let mut trainer = Trainer::new(30, logger, &Generator::new(0));
/// trainer.checkpoint = Some(ModelCheckpoint::new(&log_dir, 5, &"the options of the run")?);
/// // trainer.fit(…)?; to resume later, with a logger from CsvLogger::resume:
/// assert!(Checkpoint::last(&log_dir)?.is_none());
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct ModelCheckpoint {
    /// Steps between two checkpoints, besides those at the end of epochs; none for only the latter.
    pub every_n_train_steps: Option<usize>,
    folder: PathBuf,
    every_n_epochs: usize,
    hyper_parameters: Box<RawValue>,
    best_valid_loss: Option<f32>,
    /// The file names of the checkpoints that `LAST` and `BEST` point to, or are copies of.
    last: Option<PathBuf>,
    best: Option<PathBuf>,
    /// The newest checkpoint, until it is saved.
    pending: Option<(TrainerState, Vec<u8>)>,
}

impl ModelCheckpoint {
    /// Saves checkpoints of the run in `log_dir`, which may have some already. Each contains the `hyper_parameters`, as
    /// JSON.
    ///
    /// # Errors
    /// Fails if the folder, `last.safetensors` or `best.safetensors` can't be read.
    ///
    /// # Panics
    /// Panics if the hyper-parameters can't be written as JSON, such as a map with keys that are not text.
    pub fn new(
        log_dir: &Path,
        every_n_epochs: usize,
        hyper_parameters: &impl Serialize,
    ) -> Result<Self, Error> {
        let hyper_parameters = to_raw_value(hyper_parameters).expect("hyper-parameters go into JSON");
        let folder = log_dir.join(FOLDER);
        if folder.is_dir() {
            file::remove_temporaries(&folder)?;
        }
        let [(last, _), (best, best_valid_loss)] = [target(&folder, LAST)?, target(&folder, BEST)?];
        Ok(Self {
            every_n_train_steps: None,
            folder,
            every_n_epochs,
            hyper_parameters,
            best_valid_loss,
            last,
            best,
            pending: None,
        })
    }

    /// The newest saved checkpoint, if there is one.
    pub fn last(&self) -> Option<PathBuf> {
        self.kept(&self.last, LAST)
    }

    /// The checkpoint with the lowest validation loss, if there is one.
    pub fn best(&self) -> Option<PathBuf> {
        self.kept(&self.best, BEST)
    }

    /// The path of a checkpoint, or of its copy if only that exists.
    fn kept(&self, name: &Option<PathBuf>, copy: &str) -> Option<PathBuf> {
        let paths = [self.folder.join(name.as_ref()?), self.folder.join(copy)];
        paths.into_iter().find(|path| path.exists())
    }

    /// True if a checkpoint is due after this step of the run.
    pub fn is_due(&self, global_step: usize) -> bool {
        self.every_n_train_steps.is_some_and(|steps| global_step.is_multiple_of(steps))
    }

    /// Saves a checkpoint within an epoch, unless a weight is NaN: it would replace one to resume from.
    ///
    /// # Errors
    /// Fails if the disk is full, or the folder is missing or not writable.
    pub fn save(
        &mut self,
        module: &SimpleModule,
        generator: &Generator,
        state: TrainerState,
    ) -> Result<(), Error> {
        let is_nan = |tensor: &Tensor| bool::try_from(tensor.f_isnan()?.f_any()?);
        for tensor in module.state_dict().values() {
            if is_nan(tensor).map_err(islp::Error::from)? {
                return Ok(());
            }
        }
        self.serialize(module, generator, state)?;
        self.save_pending()
    }

    /// Makes a checkpoint of the finished epoch, and saves it if it is due, the best so far or the run's last.
    ///
    /// # Errors
    /// Fails if the disk is full, or the folder is missing or not writable.
    pub fn epoch_end(
        &mut self,
        module: &SimpleModule,
        generator: &Generator,
        state: TrainerState,
        is_end: bool,
    ) -> Result<(), Error> {
        let is_due = (state.epoch + 1).is_multiple_of(self.every_n_epochs) || self.is_due(state.global_step);
        let is_best = self.is_best(&state);
        self.serialize(module, generator, state)?;
        if is_due || is_end || is_best { self.save_pending() } else { Ok(()) }
    }

    /// Makes the pending checkpoint.
    fn serialize(
        &mut self,
        module: &SimpleModule,
        generator: &Generator,
        state: TrainerState,
    ) -> Result<(), Error> {
        let bytes = serialize(module, generator, &state, &self.hyper_parameters)
            .map_err(|error| Error::Checkpoint { path: self.folder.clone(), reason: error })?;
        self.pending = Some((state, bytes));
        Ok(())
    }

    /// True if the epoch has the lowest validation loss so far; of equal ones the first is the best. Like Lightning, takes
    /// NaN for infinity.
    fn is_best(&self, state: &TrainerState) -> bool {
        if state.batch_progress.is_some() {
            return false;
        }
        match (state.valid_loss, self.best_valid_loss) {
            (Some(loss), Some(best)) => loss < best,
            (loss, None) => loss.is_some() || self.best().is_none(),
            (None, Some(_)) => false,
        }
    }

    /// Saves the newest checkpoint, unless it is saved already, and removes those that are neither the newest nor the best.
    ///
    /// # Errors
    /// Fails if the disk is full, or the folder is missing or not writable.
    pub fn save_pending(&mut self) -> Result<(), Error> {
        let Some((state, bytes)) = self.pending.take() else { return Ok(()) };
        let name = name_of(&state);
        fs::create_dir_all(&self.folder).map_err(file::Error::io("make", &self.folder))?;
        file::write(&self.folder.join(&name), &bytes)?;
        // `last` is set last: a run killed before resumes from the previous checkpoint, to the same bytes.
        if self.is_best(&state) {
            file::link(&self.folder.join(BEST), &name, &bytes)?;
            self.best = Some(name.clone().into());
            self.best_valid_loss = state.valid_loss;
        }
        file::link(&self.folder.join(LAST), &name, &bytes)?;
        self.last = Some(name.into());
        Ok(self.prune().map_err(file::Error::io("remove old checkpoints in", &self.folder))?)
    }

    fn prune(&self) -> std::io::Result<()> {
        let kept = [&self.last, &self.best];
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let is_ours = name.to_str().is_some_and(is_checkpoint_name);
            if is_ours && !kept.into_iter().flatten().any(|kept| *kept == name) {
                fs::remove_file(self.folder.join(name))?;
            }
        }
        Ok(())
    }
}

fn name_of(state: &TrainerState) -> String {
    format!("epoch={}-step={}.safetensors", state.epoch, state.global_step)
}

/// The file name of the checkpoint that `link` points to or is a copy of, and its validation loss; none without `link`.
fn target(folder: &Path, link: &str) -> Result<(Option<PathBuf>, Option<f32>), Error> {
    let path = folder.join(link);
    if path.symlink_metadata().is_err() {
        return Ok((None, None));
    }
    let state = Checkpoint::load(&path)?.state;
    let target = fs::read_link(&path).unwrap_or_else(|_| name_of(&state).into());
    Ok((Some(target), state.valid_loss))
}

fn is_checkpoint_name(name: &str) -> bool {
    let numbers = name.strip_prefix("epoch=").and_then(|rest| rest.strip_suffix(".safetensors"));
    let numbers = numbers.and_then(|numbers| numbers.split_once("-step="));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(epoch, step)| is_number(epoch) && is_number(step))
}
