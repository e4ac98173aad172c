//! What every step of a training came to: traces, which show where two trainings part.
//!
//! A [`Trace`] writes a file while a training runs, of each step the quantities in the order in which they come about.
//! `scripts/parity_trace.py` does the same in Python, as a Lightning callback, and `compare` holds two
//! such files against each other. What is in them is described in `docs/trace.md`.

mod error;
mod format;
mod reader;
mod sketch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};
use xxhash_rust::xxh3::xxh3_64;

pub use error::Error;
pub(crate) use format::{Number, Quantity, Step};
pub(crate) use reader::Reader;
use sketch::Signs;
pub(crate) use sketch::distance;

use crate::torch;
use crate::torch::generator::Generator;
use crate::torch::optim::RmsProp;
use crate::util::file;
use format::Header;

/// What a training has at a time, besides the batch.
///
/// ```
/// use islp_mnist::{torch::{Generator, optim::RmsProp}, trace::State};
/// use tch::{Device, Tensor, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let _w = vs.root().var_copy("w", &Tensor::from_slice(&[1f32]));
/// let state = State::of(&vs, &RmsProp::new(&vs, 0.01)?, &Generator::new(0), 0);
/// assert_eq!((state.parameters[0].0.as_str(), state.optimizer.len()), ("w", 0));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct State {
    /// `named_parameters()`, in that order.
    pub parameters: Vec<(String, Tensor)>,
    /// The optimizer's state by the parameters' names: `("square_avg", ...)` of every parameter. In PyTorch there is none
    /// before the first step.
    pub optimizer: Vec<(&'static str, Vec<(String, Tensor)>)>,
    /// The generator's, as `torch.get_rng_state()` has it.
    pub generator: Vec<u8>,
}

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
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    file: File,
    kept: Option<RangeInclusive<usize>>,
    /// What the state was when the last step ended, by name.
    hashes: BTreeMap<String, u64>,
    signs: Signs,
    fits: usize,
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
            let bytes = bytes(&tensor)?;
            if self.hashes.get(&name) != Some(&xxh3_64(&bytes)) {
                let quantity = self.quantity(name, &tensor, &bytes)?;
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
        let quantity = self.quantity(name.to_string(), tensor, &bytes(tensor)?)?;
        self.step.quantities.push(quantity);
        Ok(())
    }

    /// Records the state in which the step leaves the training, and puts the step on disk.
    ///
    /// # Errors
    /// As [`Trace::record`], and a disk that is full.
    pub fn end_step(&mut self, state: &State) -> Result<(), Error> {
        for (name, tensor) in state.tensors()? {
            let bytes = bytes(&tensor)?;
            self.hashes.insert(name.clone(), xxh3_64(&bytes));
            let quantity = self.quantity(name, &tensor, &bytes)?;
            self.step.quantities.push(quantity);
        }
        self.step.sketch = STANDARD.encode(self.signs.sketch(&state.parameters)?);
        let step = std::mem::take(&mut self.step);
        self.write_line(&step)?;
        self.step = Step { fit: step.fit, model: step.model, ..Step::default() };
        Ok(())
    }

    fn quantity(&self, name: String, tensor: &Tensor, bytes: &[u8]) -> Result<Quantity, Error> {
        let is_kept = self.kept.as_ref().is_some_and(|kept| kept.contains(&self.step.step));
        let kind =
            dtype(tensor.kind()).ok_or_else(|| Error::Kind { name: name.clone(), kind: tensor.kind() })?;
        let [min, max, mean] = no_grad(|| statistics(tensor))?.map(Number);
        Ok(Quantity {
            name,
            kind: kind.to_string(),
            shape: tensor.size().into_iter().map(|length| length as usize).collect(),
            xxh3: format!("{:016x}", xxh3_64(bytes)),
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

impl State {
    /// Of a training with [`RmsProp`] that has taken so many steps.
    pub fn of(vs: &VarStore, optimizer: &RmsProp, generator: &Generator, steps: usize) -> Self {
        // tch tells the parameters in the order in which they were made, and their names without one.
        let names: BTreeMap<_, _> =
            vs.variables().into_iter().map(|(name, tensor)| (tensor.data_ptr(), name)).collect();
        let parameters: Vec<_> = vs
            .trainable_variables()
            .into_iter()
            .map(|tensor| (names[&tensor.data_ptr()].clone(), tensor))
            .collect();
        let by_name: BTreeMap<&str, &Tensor> = optimizer.square_avg().collect();
        let square_avg =
            parameters.iter().map(|(name, _)| (name.clone(), by_name[name.as_str()].shallow_clone()));
        Self {
            optimizer: if steps == 0 { vec![] } else { vec![("square_avg", square_avg.collect())] },
            parameters,
            generator: generator.get_state(),
        }
    }

    /// In the order in which a step changes them, by their names in a checkpoint.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>, Error> {
        let mut tensors = vec![];
        for (state, of_parameters) in &self.optimizer {
            tensors.extend(
                of_parameters.iter().map(|(name, tensor)| (format!("optimizer.{state}.{name}"), tensor)),
            );
        }
        tensors.extend(self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor)));
        let mut tensors: Vec<_> =
            tensors.into_iter().map(|(name, tensor)| (name, tensor.shallow_clone())).collect();
        let generator = Tensor::f_from_slice(&self.generator).map_err(torch::Error::from)?;
        tensors.push(("generator.state".to_string(), generator));
        Ok(tensors)
    }
}

/// The tensor's bytes, row by row, in the machine's order, which is little-endian.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>, torch::Error> {
    let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
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

/// The kind by its name in Python.
fn dtype(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Uint8 => "uint8",
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Int => "int32",
        Kind::Int64 => "int64",
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Float => "float32",
        Kind::Double => "float64",
        Kind::Bool => "bool",
        _ => return None,
    })
}
