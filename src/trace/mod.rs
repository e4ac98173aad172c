//! What every step of a training came to: traces, which show where two trainings part.
//!
//! A [`Trace`] writes a file while a training runs, of each step the quantities in the order in which they come about.
//! `scripts/parity_trace.py` does the same in Python, as a Lightning callback, and `compare` holds two such files against
//! each other. What is in them is described in `docs/trace.md`.

mod error;
mod format;
mod reader;
mod sketch;
mod state;
mod wrapper;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tch::{Kind, Tensor, no_grad};
use xxhash_rust::xxh3::xxh3_64;

pub use error::Error;
pub(crate) use format::{Number, Quantity, Step};
pub(crate) use reader::Reader;
use sketch::Signs;
pub(crate) use sketch::distance;
pub use state::State;

use crate::torch;
use crate::torch::state_dict::bytes;
use crate::util::file;
use format::{Header, dtype};

/// Writes the trace of one training after the other to a file. Any training loop can feed it:
///
/// ```
/// use islp_mnist::{torch::{Generator, optim::RmsProp}, trace::{State, Trace}};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let folder = tempfile::tempdir()?;
/// let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
/// let w = vs.root().var_copy("w", &Tensor::from_slice(&generator.uniform(3, -1.0, 1.0)));
/// let mut optimizer = RmsProp::new(&vs, 0.01)?;
///
/// let mut trace = Trace::create(&folder.path().join("rust.trace"), None)?;
/// trace.start_fit("Squares");
/// for step in 0..2 {
///     trace.start_step(0, step, &State::of(&vs, &optimizer, &generator, step))?;
///     let input = Tensor::from_slice(&generator.uniform(3, 0.0, 1.0));
///     let loss = (&w * &input).sum(Kind::Float).square();
///     let gradients = optimizer.gradients(&loss)?;
///     optimizer.step(&gradients)?;
///     for (name, tensor) in [("input", &input), ("loss", &loss), ("grad.w", &gradients[0])] {
///         trace.record(name, tensor)?;
///     }
///     trace.end_step(&State::of(&vs, &optimizer, &generator, step + 1))?;
/// }
/// trace.end_fit(&State::of(&vs, &optimizer, &generator, 2))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    file: File,
    kept: Option<RangeInclusive<usize>>,
    /// What the state was when the last step ended, by name.
    hashes: BTreeMap<String, String>,
    signs: Signs,
    fits: usize,
    /// The step under way, or where the next one begins.
    step: Step,
}

impl Trace {
    /// A trace in a new file. The tensors themselves are kept for the steps in `kept`, which count from 0.
    ///
    /// # Errors
    /// A file that is there already, or can't be written.
    pub fn create(path: &Path, kept: Option<RangeInclusive<usize>>) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(|reason| match reason.kind() {
            ErrorKind::AlreadyExists => Error::Exists(path.to_path_buf()),
            _ => file::Error::io("write", path)(reason).into(),
        })?;
        let mut trace = Self {
            path: path.to_path_buf(),
            file,
            kept,
            hashes: BTreeMap::new(),
            signs: Signs::default(),
            fits: 0,
            step: Step::default(),
        };
        trace.write_line(&Header::default())?;
        Ok(trace)
    }

    /// Begins with another training, of a model of this class.
    pub fn start_fit(&mut self, model: &str) {
        self.hashes.clear();
        self.step = Step { fit: self.fits, model: model.to_string(), ..Step::default() };
        self.fits += 1;
    }

    /// Begins with a step, which as the epoch counts from 0. What of the state is otherwise than the last step left it is
    /// recorded: at the first step of a training all of it, later what something else than a step has changed.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn start_step(&mut self, epoch: usize, step: usize, state: &State) -> Result<(), Error> {
        let Step { fit, model, .. } = std::mem::take(&mut self.step);
        self.step = Step { fit, model, epoch, step, ..Step::default() };
        for (name, tensor) in state.tensors()? {
            let (bytes, xxh3) = hashed(&tensor)?;
            if self.hashes.get(&name) != Some(&xxh3) {
                let quantity = self.quantity(name, &tensor, &bytes, xxh3)?;
                self.step.before.push(quantity);
            }
        }
        Ok(())
    }

    /// Records a quantity of the step. The names that Python's side gives are `input`, `target`, `logits`, `loss`, and
    /// `grad.NAME` for a parameter's gradient.
    ///
    /// # Errors
    /// libtorch's, when memory is short, or a tensor of a kind without numbers.
    pub fn record(&mut self, name: &str, tensor: &Tensor) -> Result<(), Error> {
        let (bytes, xxh3) = hashed(tensor)?;
        let quantity = self.quantity(name.to_string(), tensor, &bytes, xxh3)?;
        self.step.quantities.push(quantity);
        Ok(())
    }

    /// Records the state in which the step leaves the training, and puts the step on disk.
    ///
    /// # Errors
    /// As [`Trace::record`], and a disk that is full.
    pub fn end_step(&mut self, state: &State) -> Result<(), Error> {
        for (name, tensor) in state.tensors()? {
            self.record(&name, &tensor)?;
            let recorded = &self.step.quantities[self.step.quantities.len() - 1];
            self.hashes.insert(name, recorded.xxh3.clone());
        }
        self.write_step(state)
    }

    /// Ends a training in this state: what of it is otherwise than the last step left it is recorded.
    ///
    /// # Errors
    /// As [`Trace::end_step`].
    pub fn end_fit(&mut self, state: &State) -> Result<(), Error> {
        self.start_step(self.step.epoch, self.step.step, state)?;
        self.write_step(state)
    }

    fn write_step(&mut self, state: &State) -> Result<(), Error> {
        self.step.sketch = STANDARD.encode(self.signs.sketch(&state.parameters)?);
        let done = std::mem::take(&mut self.step);
        self.write_line(&done)?;
        let Step { fit, model, epoch, step, .. } = done;
        self.step = Step { fit, model, epoch, step: step + 1, ..Step::default() };
        Ok(())
    }

    fn quantity(&self, name: String, tensor: &Tensor, bytes: &[u8], xxh3: String) -> Result<Quantity, Error> {
        let is_kept = self.kept.as_ref().is_some_and(|kept| kept.contains(&self.step.step));
        let kind =
            dtype(tensor.kind()).ok_or_else(|| Error::Kind { name: name.clone(), kind: tensor.kind() })?;
        let [min, max, mean] = no_grad(|| statistics(tensor))?.map(Number);
        Ok(Quantity {
            name,
            kind: kind.to_string(),
            shape: tensor.size().into_iter().map(|length| length as usize).collect(),
            xxh3,
            min,
            max,
            mean,
            data: is_kept.then(|| STANDARD.encode(bytes)),
        })
    }

    /// At once, so that what is on disk of a process that was killed are whole lines, but for the last.
    fn write_line(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_vec(line).expect("lines go into JSON");
        text.push(b'\n');
        Ok(self.file.write_all(&text).map_err(file::Error::io("write", &self.path))?)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Of a run that was refused before it began nothing stays.
        if self.fits == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A tensor's bytes, and their hash as a trace has it.
fn hashed(tensor: &Tensor) -> Result<(Vec<u8>, String), torch::Error> {
    let bytes = bytes(tensor)?;
    let xxh3 = format!("{:016x}", xxh3_64(&bytes));
    Ok((bytes, xxh3))
}

/// Minimum, maximum and mean; the mean of integers in f64. NaN if there are none.
fn statistics(tensor: &Tensor) -> Result<[f64; 3], torch::Error> {
    if tensor.numel() == 0 {
        return Ok([f64::NAN; 3]);
    }
    let (min, max) = tensor.f_aminmax(None, false)?;
    let mean = tensor.f_mean(if tensor.is_floating_point() { None } else { Some(Kind::Double) })?;
    let value = |tensor: &Tensor| tensor.f_double_value(&[]);
    Ok([value(&min)?, value(&max)?, value(&mean)?])
}
