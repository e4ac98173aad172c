//! What decides a run's results: the options of the command line, saved with the results.

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Device;

use super::hints::UsageError;
use crate::cli::device::{DeviceOption, GeneratorOption};
use crate::cli::usage::message;
use crate::cli::values::{at_least_one, at_least_zero, fraction, learning_rate, model, name, seed, threads};
use crate::cli::vary::Vary;
use islp_mnist::lightning::LimitTrainBatches;
use islp_mnist::notebook;
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::{CudaGenerator, Generator};

/// What every run has; the defaults are the notebook's values.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[command(allow_negative_numbers = true)] // so that the message on one names the option
pub struct RunOptions {
    /// Passes over the training images
    #[arg(long, default_value_t = notebook().epochs, value_parser = at_least_one)]
    pub epochs: usize,
    /// Images in a training step
    #[arg(long, default_value_t = notebook().batch_size, value_parser = at_least_one)]
    pub batch_size: usize,
    /// Fraction of the training images held back for validation, between 0 and 1
    #[arg(long, default_value_t = notebook().validation, value_parser = fraction, allow_hyphen_values = true)]
    pub validation: f64,
    /// Seed of everything random but the split; as in PyTorch only its low 32 bits count, but all for dropout on a GPU
    #[arg(long, default_value_t = notebook().seed, value_parser = seed)]
    pub seed: u64,
    /// Workers that Python's data loaders would have: changes which seeds are drawn when, nothing else
    #[arg(long, default_value_t = notebook().num_workers, value_parser = at_least_zero)]
    pub num_workers: usize,
    /// Learning rate of RMSprop
    #[arg(long, default_value_t = notebook().lr, value_parser = learning_rate, allow_hyphen_values = true)]
    pub lr: f64,
    /// Threads of libtorch [default: libtorch's, one a physical core]
    #[arg(long, value_parser = threads)]
    pub threads: Option<i32>,
    /// Where to train: auto, cpu, cuda, cuda:N or mps; auto takes a GPU where libtorch can use one
    #[arg(long, default_value = "auto")]
    pub device: DeviceOption,
    /// Which of PyTorch's generators dropout draws from; auto is that of the device, as in Python
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "auto|cpu|cuda")]
    pub generator: GeneratorOption,
}

impl RunOptions {
    /// What a run of this model really takes, once device and threads are settled.
    ///
    /// # Errors
    /// More values to drop at a time than can be told without a GPU what it would draw for.
    pub fn on(&self, device: Device, model: Model) -> Result<Self> {
        let generator = self.generator.on(device);
        let most = CudaGenerator::MOST_WITHOUT_GPU.checked_div(model.dropped_units());
        if generator == GeneratorOption::Cuda
            && !device.is_cuda()
            && most.is_some_and(|most| self.batch_size > most)
        {
            bail!(UsageError(format!(
                "--generator cuda on the CPU goes with a --batch-size of up to {}, not {}: what a GPU draws for more depends on \
                 the GPU; take --device cuda, or --generator cpu",
                most.unwrap_or_default(),
                self.batch_size
            )));
        }
        let (device, threads) = (DeviceOption::of(device), Some(tch::get_num_threads()));
        Ok(Self { device, threads, generator, ..self.clone() })
    }
}

/// The options of a single model's run. Read from a file they are held to the same rules as on the command line.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct TrainOptions {
    /// The model to train
    #[arg(long, value_parser = model(), default_value = "mlp")]
    pub model: Model,
    /// What every run has.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunOptions,
    /// Training batches of an epoch: a number, or with a decimal point a fraction [default: all]
    #[arg(long, value_name = "N|FRACTION")]
    pub limit_train_batches: Option<LimitTrainBatches>,
    /// Has one source of randomness draw with a seed of its own: split, init, shuffle or dropout, such as init=7. All else
    /// stays as --seed has it, which PyTorch can't do [default: none]
    #[arg(long, value_name = "SOURCE=SEED")]
    pub vary: Option<Vary>,
    /// Epochs from one checkpoint to the next; the best so far and the last are saved in any case
    #[arg(long, value_name = "EPOCHS", default_value = "1", value_parser = at_least_one)]
    pub checkpoint_every: usize,
    /// Name of the run's folder in OUTPUT_DIR [default: MNIST or MNIST_MLR, by the model]
    #[arg(long, value_parser = name)]
    pub name: Option<String>,
}

impl TryFrom<Map<String, Value>> for TrainOptions {
    type Error = anyhow::Error;

    /// Options by their names.
    fn try_from(mut fields: Map<String, Value>) -> Result<Self> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct CommandLine {
            #[command(flatten)]
            options: TrainOptions,
        }
        // Before there was a choice all was drawn from the CPU's.
        fields.entry("generator").or_insert_with(|| "cpu".into());
        let given = fields.iter().filter(|(_, value)| !value.is_null());
        let words = given.map(|(name, value)| format!("{}={}", flag(name), text(value)));
        let parsed = CommandLine::try_parse_from(words).map_err(|error| anyhow!(message(&error)))?;
        // A default here would be another option than the run's.
        let mut all = parsed.options.fields()?.into_iter();
        match all.find(|(name, value)| !value.is_null() && fields.get(name).is_none_or(Value::is_null)) {
            Some((name, _)) => bail!("lacks {}", flag(&name)),
            None => Ok(parsed.options),
        }
    }
}

impl TrainOptions {
    /// What the run draws from.
    pub fn generator(&self) -> Generator {
        let generator = Generator::new(self.run.seed);
        generator.draw_dropout_from(self.run.generator.into());
        if let Some(Vary { source, seed }) = self.vary {
            generator.vary(source, seed);
        }
        generator
    }

    /// These options where the command line gave them, by their names in `given`; otherwise those of `base`.
    ///
    /// # Errors
    /// None that the two types allow for.
    pub fn over(&self, base: &Self, given: &[String]) -> Result<Self> {
        let mut fields = base.fields()?;
        fields.extend(self.fields()?.into_iter().filter(|(name, _)| given.contains(name)));
        fields.try_into()
    }

    /// The options in which the two differ, as one types them: flag, our value, theirs.
    ///
    /// # Errors
    /// None that the two types allow for.
    pub fn differences(&self, other: &Self) -> Result<Vec<(String, String, String)>> {
        let pairs = self.fields()?.into_iter().zip(other.fields()?.into_values());
        let canonical = |name: &str, value: &Value| match (name, value.as_str()) {
            ("device", Some("cuda")) => "cuda:0".into(),
            _ => value.clone(),
        };
        let differing =
            pairs.filter(|((name, ours), theirs)| canonical(name, ours) != canonical(name, theirs));
        Ok(differing.map(|((name, ours), theirs)| (flag(&name), text(&ours), text(&theirs))).collect())
    }

    /// Every option by its name.
    fn fields(&self) -> Result<Map<String, Value>> {
        Ok(serde_json::from_value(serde_json::to_value(self)?)?)
    }
}

fn notebook() -> notebook::Options {
    notebook::Options::default()
}

/// The option as one types it.
pub fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// A value as one types it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, usage};

    /// What no option takes that takes a number.
    const NO_NUMBERS: [&str; 15] = [
        "",
        " ",
        "x",
        "-1",
        "-1e-3",
        "-inf",
        "NaN",
        "inf",
        "1e400",
        "0x10",
        "1,5",
        "1_000",
        " 1",
        "½",
        "\u{1b}[31m",
    ];

    #[test]
    fn what_an_option_does_not_take_is_refused_in_a_line_that_names_it() {
        for (option, beyond) in [
            ("--epochs", &["0", "9223372036854775808", "0.5"][..]),
            ("--batch-size", &["0", "9223372036854775808", "1e3"]),
            ("--validation", &["0", "1", "1.0000001", "1e-400"]),
            ("--seed", &["18446744073709551616", "0.0"]),
            ("--num-workers", &["18446744073709551616", "4.0"]),
            ("--lr", &["3.5e38", "1e308"]),
            ("--threads", &["0", "1025", "4294967297"]),
            ("--limit-train-batches", &["0", "0.0", "1.1", "9223372036854775808"]),
            ("--checkpoint-every", &["0", "9223372036854775808"]),
            ("--trace-steps", &["5", "5..", "..5", "5..4", "1..=2", "1..2..3", "1...2"]),
            ("--vary", &["init", "init=", "seed=1", "init=+1", "init=01", "=1", "init=18446744073709551616"]),
            ("--max-time", &["10", "m", "99999999999999999999s", "1h 30x"]),
        ] {
            assert_refused(option, NO_NUMBERS.iter().chain(beyond));
        }
        assert_refused("--name", &["", ".", "..", "/", "a/b", "/a", "a/", ".a", "a\nb", "a\u{7f}"]);
        assert_refused("--model", &["", "MLP", "mlp ", "cnn", "mlp,mlr"]);
    }

    fn assert_refused<'a>(option: &str, values: impl IntoIterator<Item = &'a &'a str>) {
        for value in values {
            let parsed = Cli::try_parse_from(["islp-mnist", "train", &format!("{option}={value}")]);
            let error = parsed.expect_err(&format!("{option}={value:?}"));
            let message = usage::message(&error);
            assert_eq!(error.exit_code(), 2, "{message}");
            assert!(message.contains(option) && !message.contains(char::is_control), "{message:?}");
        }
    }
}
