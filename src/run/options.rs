//! The options that determine a run's results. Their defaults are the notebook's values.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Device;

use super::{DeviceOption, Error, GeneratorOption, as_text};
use crate::lightning::LimitTrainBatches;
use crate::notebook::{self, models::Model};
use crate::torch::{CudaGenerator, Generator, Source};

/// The options of every run.
///
/// ```
/// use islp_mnist::run::RunOptions;
///
/// assert_eq!(RunOptions::default().batch_size, 256);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct RunOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per training step.
    pub batch_size: usize,
    /// Fraction of the training images held out for validation.
    pub validation: f64,
    /// Seed of everything random except the split.
    pub seed: u64,
    /// Workers of Python's data loaders.
    pub num_workers: usize,
    /// Learning rate of RMSprop.
    pub lr: f64,
    /// Threads of libtorch; none for its own default.
    pub threads: Option<i32>,
    /// The device to train on.
    pub device: DeviceOption,
    /// The generator that dropout draws from.
    pub generator: GeneratorOption,
}

impl Default for RunOptions {
    fn default() -> Self {
        let notebook = notebook::Options::default();
        Self {
            epochs: notebook.epochs,
            batch_size: notebook.batch_size,
            validation: notebook.validation,
            seed: notebook.seed,
            num_workers: notebook.num_workers,
            lr: notebook.lr,
            threads: None,
            device: DeviceOption::Auto,
            generator: GeneratorOption::Auto,
        }
    }
}

impl TryFrom<Map<String, Value>> for RunOptions {
    type Error = String;

    /// Applies the rules of the command line to the options of a file.
    fn try_from(mut fields: Map<String, Value>) -> Result<Self, String> {
        // Version 0.1 always drew from the CPU's generator.
        fields.entry("generator").or_insert_with(|| "cpu".into());
        let options = Self {
            epochs: AT_LEAST_ONE.take(&mut fields, "epochs")?,
            batch_size: AT_LEAST_ONE.take(&mut fields, "batch_size")?,
            validation: FRACTION.take(&mut fields, "validation")?,
            seed: SEED.take(&mut fields, "seed")?,
            num_workers: AT_LEAST_ZERO.take(&mut fields, "num_workers")?,
            lr: LEARNING_RATE.take(&mut fields, "lr")?,
            threads: THREADS.take_optional(&mut fields, "threads")?,
            device: take(&mut fields, "device")?,
            generator: take(&mut fields, "generator")?,
        };
        match fields.keys().next() {
            Some(name) => Err(format!("there is no option {name}")),
            None => Ok(options),
        }
    }
}

impl RunOptions {
    /// Returns the options of a run of this model, with the device, threads and generator that it uses.
    ///
    /// # Errors
    /// Fails if dropout drops more units per batch than the CPU can draw like a GPU.
    pub fn on(&self, device: Device, model: Model) -> Result<Self, Error> {
        let generator = self.generator.on(device);
        let max = CudaGenerator::MAX_WITHOUT_GPU.checked_div(model.dropped_units());
        if let Some(max) = max
            && generator == GeneratorOption::Cuda
            && !device.is_cuda()
            && self.batch_size > max
        {
            return Err(Error::BatchWithoutGpu { max, batch_size: self.batch_size });
        }
        let (device, threads) = (DeviceOption::of(device), Some(tch::get_num_threads()));
        Ok(Self { device, threads, generator, ..self.clone() })
    }
}

/// The options of a single model's run.
///
/// ```
/// use islp_mnist::run::{RunOptions, TrainOptions};
///
/// let ours = TrainOptions::default();
/// let theirs = TrainOptions { run: RunOptions { lr: 0.001, ..ours.run.clone() }, ..ours.clone() };
/// assert_eq!(ours.differences(&theirs), [("lr".into(), "0.01".into(), "0.001".into())]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct TrainOptions {
    /// The model to train.
    pub model: Model,
    /// The options of every run.
    #[serde(flatten)]
    pub run: RunOptions,
    /// Training batches per epoch; none for all.
    pub limit_train_batches: Option<LimitTrainBatches>,
    /// One source of randomness that draws with its own seed.
    pub vary: Option<Vary>,
    /// Epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// Steps between two checkpoints, besides those at the end of epochs; none for only the latter.
    pub checkpoint_every_n_steps: Option<usize>,
    /// Name of the run's folder; none for the model's name.
    pub name: Option<String>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            model: Model::Mlp,
            run: RunOptions::default(),
            limit_train_batches: None,
            vary: None,
            checkpoint_every: 1,
            checkpoint_every_n_steps: None,
            name: None,
        }
    }
}

impl TryFrom<Map<String, Value>> for TrainOptions {
    type Error = String;

    /// Applies the rules of the command line to the options of a file.
    fn try_from(mut fields: Map<String, Value>) -> Result<Self, String> {
        Ok(Self {
            model: take(&mut fields, "model")?,
            limit_train_batches: take(&mut fields, "limit_train_batches")?,
            vary: take(&mut fields, "vary")?,
            checkpoint_every: AT_LEAST_ONE.take(&mut fields, "checkpoint_every")?,
            checkpoint_every_n_steps: AT_LEAST_ONE.take_optional(&mut fields, "checkpoint_every_n_steps")?,
            name: NAME.take_optional(&mut fields, "name")?,
            run: fields.try_into()?,
        })
    }
}

impl TrainOptions {
    /// The generator that the run draws from.
    pub fn generator(&self) -> Generator {
        let generator = Generator::new(self.run.seed);
        generator.draw_dropout_from(self.run.generator.into());
        if let Some(Vary { source, seed }) = self.vary {
            generator.vary(source, seed);
        }
        generator
    }

    /// The options that differ: name, our value, theirs.
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let pairs = self.fields().into_iter().zip(other.fields().into_values());
        let canonical = |name: &str, value: &Value| match (name, value.as_str()) {
            ("device", Some("cuda")) => "cuda:0".into(),
            _ => value.clone(),
        };
        let differing =
            pairs.filter(|((name, ours), theirs)| canonical(name, ours) != canonical(name, theirs));
        differing.map(|((name, ours), theirs)| (name, text(&ours), text(&theirs))).collect()
    }

    /// Every option by its name.
    fn fields(&self) -> Map<String, Value> {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else {
            unreachable!("options are a JSON object")
        };
        fields
    }
}

/// One source of randomness that draws with its own seed, written as `init=7`.
///
/// ```
/// use islp_mnist::{run::Vary, torch::Source};
///
/// assert_eq!("init=7".parse(), Ok(Vary { source: Source::Init, seed: 7 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vary {
    /// The source.
    pub source: Source,
    /// Its seed.
    pub seed: u64,
}

impl Display for Vary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}={}", self.source, self.seed)
    }
}

as_text!(Vary, "must be split, init, shuffle or dropout with a seed, such as init=7", |text| {
    let parse =
        |(source, seed): (&str, &str)| Some(Self { source: source.parse().ok()?, seed: seed.parse().ok()? });
    text.split_once('=').and_then(parse)
});

/// The values that an option takes.
///
/// ```
/// use islp_mnist::run::FRACTION;
///
/// assert_eq!(FRACTION.parse("0.2"), Ok(0.2));
/// assert_eq!(FRACTION.parse("1"), Err("must be a fraction above 0 and below 1, such as 0.2"));
/// ```
pub struct Rule<T: 'static> {
    allows: fn(&T) -> bool,
    text: &'static str,
}

/// Counts. The maximum is that of a signed 64-bit integer, as in libtorch.
pub const AT_LEAST_ONE: Rule<usize> = Rule {
    allows: |number| *number > 0 && i64::try_from(*number).is_ok(),
    text: "must be a whole number, 1 or more",
};
/// Counts that may be zero.
pub const AT_LEAST_ZERO: Rule<usize> = Rule { allows: |_| true, text: "must be a whole number, 0 or more" };
/// Seeds.
pub const SEED: Rule<u64> =
    Rule { allows: |_| true, text: "must be a whole number from 0 to 18446744073709551615" };
/// Fractions, except 0 and 1.
pub const FRACTION: Rule<f64> = Rule {
    allows: |fraction| *fraction > 0.0 && *fraction < 1.0,
    text: "must be a fraction above 0 and below 1, such as 0.2",
};
/// Learning rates. The parameters are f32, and PyTorch's RMSprop fails with a rate beyond their range.
pub const LEARNING_RATE: Rule<f64> = Rule {
    allows: |lr| (0.0..=f64::from(f32::MAX)).contains(lr),
    text: "must be a number from 0 to 3.4e38, such as 0.01",
};
/// Numbers of threads. OpenMP ends the process if it cannot start one, so the limit is a number that machines can start.
pub const THREADS: Rule<i32> =
    Rule { allows: |threads| (1..=1024).contains(threads), text: "must be a whole number from 1 to 1024" };
/// Names of folders.
pub const NAME: Rule<String> = Rule {
    allows: |name| {
        !name.is_empty() && !name.starts_with('.') && !name.contains('/') && !name.contains(char::is_control)
    },
    text: "must be a folder name that neither begins with '.' nor contains '/' or control characters",
};

impl<T: FromStr> Rule<T> {
    /// Parses a value.
    ///
    /// # Errors
    /// Fails if the option does not take the value; the message describes those it takes.
    pub fn parse(&self, text: &str) -> Result<T, &'static str> {
        text.parse().ok().filter(self.allows).ok_or(self.text)
    }
}

impl<T: DeserializeOwned> Rule<T> {
    /// Removes an option from those of a file and returns its value.
    fn take(&self, fields: &mut Map<String, Value>, name: &str) -> Result<T, String> {
        let given = fields.get(name).map_or("missing".into(), Value::to_string);
        let value = take(fields, name).ok().filter(self.allows);
        value.ok_or_else(|| format!("{name} is {given}, but {}", self.text))
    }

    fn take_optional(&self, fields: &mut Map<String, Value>, name: &str) -> Result<Option<T>, String> {
        match fields.get(name) {
            None => Ok(None),
            Some(Value::Null) => take(fields, name),
            Some(_) => self.take(fields, name).map(Some),
        }
    }
}

/// Removes an option without a rule from those of a file and returns its value; a missing one is null.
fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<T, String> {
    let value = fields.remove(name).unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
}

/// Returns a value as typed on the command line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
