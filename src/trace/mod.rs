//! Traces: files that record every step of a training and show where two trainings diverge.
//!
//! A [`Trace`] writes one while a training runs, each step's quantities in the order of their computation.
//! `python/islp_mnist/trace.py` does the same in Python, as a Lightning callback, and `compare` compares two of them.
//! `docs/trace.md` describes the file.

mod format;
mod reader;
mod sketch;
mod state;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tch::{Kind, Tensor, no_grad};

pub use format::Error;
use format::{Header, dtype};
pub(crate) use format::{Number, Quantity, Step};
pub(crate) use reader::{Reader, parameter};
use sketch::Signs;
pub(crate) use sketch::numbers as sketched;
pub use state::State;

use crate::torch::{self, outputs::LayerOutputs, state_dict::bytes};
use crate::util::file;
pub use crate::util::pattern::Pattern;

/// Writes the trace of one or more trainings to a file. Any training loop can feed it:
///
/// ```
/// use islp_mnist::torch::{Generator, optim::{Optimizer, RmsProp, RmsPropOptions}, outputs::{LayerOutputs, layer}};
/// use islp_mnist::trace::{State, Trace};
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// let folder = tempfile::tempdir()?;
/// let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
/// let w = vs.root().var_copy("w", &Tensor::from_slice(&generator.uniform(3, -1.0, 1.0)));
/// let mut optimizer = RmsProp::new(&vs, RmsPropOptions::default())?;
///
/// let mut trace = Trace::create(&folder.path().join("rust.trace"), None)?;
/// trace.start_fit("Squares");
/// for step in 0..2 {
///     trace.start_step(0, step, &State::of(&vs, &optimizer, &generator, step))?;
///     let input = Tensor::from_slice(&generator.uniform(3, 0.0, 1.0));
///     trace.record("input", &input)?;
///     let outputs = LayerOutputs::record();
///     let logits = layer("product", || &w * &input);
///     let loss = logits.sum(Kind::Float).square();
///     trace.record_forward(outputs, &logits, &loss)?;
///     let gradients = optimizer.gradients(&loss)?;
///     trace.record("grad.w", &gradients[0])?;
///     optimizer.step(&gradients)?;
///     trace.end_step(&State::of(&vs, &optimizer, &generator, step + 1))?;
/// }
/// trace.end_fit(&State::of(&vs, &optimizer, &generator, 2))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Trace {
    /// Names of quantities to leave out.
    pub skip: Vec<Pattern>,
    /// Whether [`Trace::record_forward`] records the gradients of the layers' outputs. It then runs backward once more.
    pub output_gradients: bool,
    path: PathBuf,
    file: File,
    kept: Option<RangeInclusive<usize>>,
    /// Hashes of the state after the last step, by name.
    hashes: BTreeMap<String, String>,
    signs: Signs,
    fits: usize,
    /// The current step, or the start of the next one.
    step: Step,
}

impl Trace {
    /// Creates the file. For the steps in `kept`, counted from 0, it will also contain the tensors.
    ///
    /// # Errors
    /// Fails if the file exists or can't be written.
    pub fn create(path: &Path, kept: Option<RangeInclusive<usize>>) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(|reason| match reason.kind() {
            ErrorKind::AlreadyExists => Error::Exists(path.to_path_buf()),
            _ => file::Error::io("write", path)(reason).into(),
        })?;
        let mut trace = Self {
            skip: vec![],
            output_gradients: false,
            path: path.to_path_buf(),
            file,
            kept,
            hashes: BTreeMap::new(),
            signs: Signs::default(),
            fits: 0,
            step: Step::default(),
        };
        trace.write_line(&Header::current())?;
        Ok(trace)
    }

    /// Starts a training of a model of this class.
    pub fn start_fit(&mut self, model: &str) {
        self.hashes.clear();
        self.step = Step { fit: self.fits, model: model.to_string(), ..Step::default() };
        self.fits += 1;
    }

    /// Starts a step; epoch and step count from 0. Records the changes in the state since the last step ended: the whole
    /// state at the first step of a training, later the changes that something other than a step has made.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn start_step(&mut self, epoch: usize, step: usize, state: &State) -> Result<(), Error> {
        let Step { fit, model, .. } = std::mem::take(&mut self.step);
        self.step = Step { fit, model, epoch, step, ..Step::default() };
        for (name, tensor) in self.wanted(state.tensors()?) {
            let (bytes, xxh3) = hashed(&tensor)?;
            if self.hashes.get(&name) != Some(&xxh3) {
                let quantity = self.quantity(name, &tensor, &bytes, xxh3)?;
                self.step.before.push(quantity);
            }
        }
        Ok(())
    }

    /// Records a quantity of the step. Python's names are `input`, `target`, `forward.LAYER`, `logits`, `loss`, and
    /// `grad.NAME` for a parameter's gradient.
    ///
    /// # Errors
    /// Fails if memory is short, or the tensor's kind is not a number.
    pub fn record(&mut self, name: &str, tensor: &Tensor) -> Result<(), Error> {
        if self.is_wanted(name) {
            let (bytes, xxh3) = hashed(tensor)?;
            let quantity = self.quantity(name.to_string(), tensor, &bytes, xxh3)?;
            self.step.quantities.push(quantity);
        }
        Ok(())
    }

    /// Records what a step computes up to its loss, before backward: the layers' outputs, `logits` and `loss`.
    ///
    /// # Errors
    /// Fails like [`Trace::record`].
    pub fn record_forward(
        &mut self,
        outputs: LayerOutputs,
        logits: &Tensor,
        loss: &Tensor,
    ) -> Result<(), Error> {
        let outputs = outputs.take();
        for (name, output) in &outputs {
            self.record(&format!("forward.{name}"), output)?;
        }
        self.record("logits", logits)?;
        self.record("loss", loss)?;
        let outputs: Vec<_> = outputs.iter().rev().filter(|(_, output)| output.requires_grad()).collect();
        if self.output_gradients && !outputs.is_empty() {
            let tensors: Vec<_> = outputs.iter().map(|(_, output)| output).collect();
            let gradients =
                Tensor::f_run_backward(&[loss], &tensors, true, false).map_err(torch::Error::from)?;
            for ((name, _), gradient) in
                outputs.iter().zip(&gradients).filter(|(_, gradient)| gradient.defined())
            {
                self.record(&format!("grad.forward.{name}"), gradient)?;
            }
        }
        Ok(())
    }

    /// Records the state after the step, and writes the step.
    ///
    /// # Errors
    /// Fails like [`Trace::record`], or if the disk is full.
    pub fn end_step(&mut self, state: &State) -> Result<(), Error> {
        for (name, tensor) in self.wanted(state.tensors()?) {
            self.record(&name, &tensor)?;
            let recorded = &self.step.quantities[self.step.quantities.len() - 1];
            self.hashes.insert(name, recorded.xxh3.clone());
        }
        self.write_step()
    }

    /// Ends a training, and records the changes in the state since the last step.
    ///
    /// # Errors
    /// Fails like [`Trace::end_step`].
    pub fn end_fit(&mut self, state: &State) -> Result<(), Error> {
        self.start_step(self.step.epoch, self.step.step, state)?;
        self.write_step()
    }

    fn is_wanted(&self, name: &str) -> bool {
        !self.skip.iter().any(|pattern| pattern.matches(name))
    }

    fn wanted(&self, mut tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
        tensors.retain(|(name, _)| self.is_wanted(name));
        tensors
    }

    fn write_step(&mut self) -> Result<(), Error> {
        let finished = std::mem::take(&mut self.step);
        self.write_line(&finished)?;
        let Step { fit, model, epoch, step, .. } = finished;
        self.step = Step { fit, model, epoch, step: step + 1, ..Step::default() };
        Ok(())
    }

    fn quantity(
        &mut self,
        name: String,
        tensor: &Tensor,
        bytes: &[u8],
        xxh3: String,
    ) -> Result<Quantity, Error> {
        let is_kept = self.kept.as_ref().is_some_and(|kept| kept.contains(&self.step.step));
        let kind =
            dtype(tensor.kind()).ok_or_else(|| Error::Kind { name: name.clone(), kind: tensor.kind() })?;
        // The output of a Flatten has the bytes of its input.
        let mut recorded = self.step.before.iter().chain(&self.step.quantities);
        let (min, max, mean, sketch) = match recorded.find(|other| other.kind == kind && other.xxh3 == xxh3) {
            Some(same) => (same.min, same.max, same.mean, same.sketch.clone()),
            None => {
                let [min, max, mean] = no_grad(|| statistics(tensor))?.map(Number);
                (min, max, mean, Some(self.signs.sketch(tensor, bytes)?))
            }
        };
        Ok(Quantity {
            name,
            kind: kind.to_string(),
            shape: tensor.size().into_iter().map(|length| length as usize).collect(),
            xxh3,
            min,
            max,
            mean,
            sketch,
            data: is_kept.then(|| STANDARD.encode(bytes)),
            is_forgotten: false,
        })
    }

    /// Writes a line with one call, so that a killed process leaves whole lines, except perhaps the last.
    fn write_line(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_vec(line).expect("lines go into JSON");
        text.push(b'\n');
        Ok(self.file.write_all(&text).map_err(file::Error::io("write", &self.path))?)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // A run that fails before its first training leaves no file.
        if self.fits == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A tensor's bytes and their hash.
fn hashed(tensor: &Tensor) -> Result<(Vec<u8>, String), torch::Error> {
    let bytes = bytes(tensor)?;
    let xxh3 = format::hash(&bytes);
    Ok((bytes, xxh3))
}

/// Minimum, maximum and mean, of integers in f64; NaN for an empty tensor.
fn statistics(tensor: &Tensor) -> Result<[f64; 3], torch::Error> {
    if tensor.numel() == 0 {
        return Ok([f64::NAN; 3]);
    }
    let (min, max) = tensor.f_aminmax(None, false)?;
    let mean = tensor.f_mean(if tensor.is_floating_point() { None } else { Some(Kind::Double) })?;
    let value = |tensor: &Tensor| tensor.f_double_value(&[]);
    Ok([value(&min)?, value(&max)?, value(&mean)?])
}
