//! Options that several commands share.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use log::LevelFilter;

use islp_mnist::lightning::{self, LimitTrainBatches};
use islp_mnist::notebook::models::Model;
use islp_mnist::run::{
    AT_LEAST_ONE, AT_LEAST_ZERO, DeviceOption, FRACTION, GeneratorOption, LEARNING_RATE, NAME, RunOptions,
    SEED, THREADS, TrainOptions, Vary,
};
use islp_mnist::trace::{Pattern, Trace};

/// The options of every run, as far as they are given.
#[derive(Args, Clone, Debug)]
#[command(allow_negative_numbers = true)] // so that the error for a negative number names the option
pub struct RunArgs {
    /// Passes over the training images [default: 30]
    #[arg(long, value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    pub epochs: Option<usize>,
    /// Images per training step [default: 256]
    #[arg(long, value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    pub batch_size: Option<usize>,
    /// Fraction of the training images held out for validation, between 0 and 1 [default: 0.2]
    #[arg(long, value_parser = |text: &str| FRACTION.parse(text), allow_hyphen_values = true)]
    pub validation: Option<f64>,
    /// Seed of everything random except the split; as in PyTorch, only its low 32 bits count, but all 64 for dropout on a
    /// GPU [default: 0]
    #[arg(long, value_parser = |text: &str| SEED.parse(text))]
    pub seed: Option<u64>,
    /// Workers of Python's data loaders; here they only affect when random numbers are drawn [default: 4]
    #[arg(long, value_parser = |text: &str| AT_LEAST_ZERO.parse(text))]
    pub num_workers: Option<usize>,
    /// Learning rate of RMSprop [default: 0.01]
    #[arg(long, value_parser = |text: &str| LEARNING_RATE.parse(text), allow_hyphen_values = true)]
    pub lr: Option<f64>,
    /// Threads that libtorch uses [default: one per physical core]
    #[arg(long, value_parser = |text: &str| THREADS.parse(text))]
    pub threads: Option<i32>,
    /// Device to train on: auto, cpu, cuda, cuda:N or mps; auto uses a GPU if libtorch can [default: auto]
    #[arg(long)]
    pub device: Option<DeviceOption>,
    /// Generator that dropout draws from; auto is the device's, as in Python [default: auto]
    #[arg(long, value_name = "auto|cpu|cuda")]
    pub generator: Option<GeneratorOption>,
}

impl RunArgs {
    /// Fills in the options that are not given from `base`.
    pub fn over(&self, base: &RunOptions) -> RunOptions {
        RunOptions {
            epochs: self.epochs.unwrap_or(base.epochs),
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            validation: self.validation.unwrap_or(base.validation),
            seed: self.seed.unwrap_or(base.seed),
            num_workers: self.num_workers.unwrap_or(base.num_workers),
            lr: self.lr.unwrap_or(base.lr),
            threads: self.threads.or(base.threads),
            // `auto` keeps the run's device.
            device: self.device.filter(|device| *device != DeviceOption::Auto).unwrap_or(base.device),
            generator: self
                .generator
                .filter(|generator| *generator != GeneratorOption::Auto)
                .unwrap_or(base.generator),
        }
    }
}

/// The options of a single model's run, as far as they are given.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// Model to train: mlp (multilayer perceptron) or mlr (multinomial logistic regression) [default: mlp]
    #[arg(long, value_parser = model(), hide_possible_values = true)]
    pub model: Option<Model>,
    #[command(flatten)]
    pub run: RunArgs,
    /// Training batches per epoch: a number such as 20, or a fraction such as 0.5; 1 is one batch, 1.0 all [default: all]
    #[arg(long, value_name = "N|FRACTION")]
    pub limit_train_batches: Option<LimitTrainBatches>,
    /// Give one source of randomness (split, init, shuffle or dropout) its own seed, such as init=7; the others draw as
    /// with --seed alone, which PyTorch cannot do [default: none]
    #[arg(long, value_name = "SOURCE=SEED")]
    pub vary: Option<Vary>,
    /// Save a checkpoint every EPOCHS epochs; the best one and the last are always saved [default: 1]
    #[arg(long, value_name = "EPOCHS", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    pub checkpoint_every: Option<usize>,
    /// Also save a checkpoint every N steps, within an epoch; a run that is killed then loses at most N steps [default: none]
    #[arg(long, value_name = "N", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    pub checkpoint_every_n_steps: Option<usize>,
    /// Name of the run, whose folder is OUTPUT_DIR/NAME/version_N [default: MNIST or MNIST_MLR, by the model]
    #[arg(long, value_parser = |text: &str| NAME.parse(text))]
    pub name: Option<String>,
}

impl ModelArgs {
    /// Fills in the options that are not given from `base`.
    pub fn over(&self, base: &TrainOptions) -> TrainOptions {
        TrainOptions {
            model: self.model.unwrap_or(base.model),
            run: self.run.over(&base.run),
            limit_train_batches: self.limit_train_batches.or(base.limit_train_batches),
            vary: self.vary.or(base.vary),
            checkpoint_every: self.checkpoint_every.unwrap_or(base.checkpoint_every),
            checkpoint_every_n_steps: self.checkpoint_every_n_steps.or(base.checkpoint_every_n_steps),
            name: self.name.clone().or_else(|| base.name.clone()),
        }
    }
}

/// The folder of the data.
#[derive(Args, Debug)]
pub struct DataDir {
    /// Folder with MNIST's four files, with or without .gz: in its MNIST/raw/ (torchvision's layout), in its raw/ or
    /// directly in it [default: data]
    #[arg(long, value_name = "DIR", env = "ISLP_MNIST_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl DataDir {
    /// Returns the given folder, else the run's, else `data`.
    pub fn or(&self, of_run: Option<PathBuf>) -> PathBuf {
        self.data_dir.clone().or(of_run).unwrap_or_else(|| "data".into())
    }
}

/// The trace of a run.
#[derive(Args, Clone, Debug)]
pub struct TraceOptions {
    /// Record every training step in this new file, for `compare`
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Also record the tensors of these steps, such as 130..140, both included; steps count from 0
    #[arg(long, value_name = "FROM..TO", requires = "trace", value_parser = steps)]
    pub trace_steps: Option<RangeInclusive<usize>>,
    /// Leave out quantities with this name, such as 'forward.*', where * stands for any text; may be given several times
    #[arg(long, value_name = "NAME", requires = "trace")]
    pub trace_skip: Vec<Pattern>,
    /// Also record the gradients of the layers' outputs
    #[arg(long, requires = "trace")]
    pub trace_output_gradients: bool,
}

impl TraceOptions {
    /// Creates the file if --trace is given.
    pub fn create(&self) -> Result<Option<Trace>, lightning::Error> {
        let Some(path) = self.trace.as_deref() else { return Ok(None) };
        let mut trace = Trace::create(path, self.trace_steps.clone())?;
        trace.skip.clone_from(&self.trace_skip);
        trace.output_gradients = self.trace_output_gradients;
        Ok(Some(trace))
    }
}

/// The amount of output of a long command on stderr.
#[derive(Args, Clone, Debug)]
pub struct ProgressOptions {
    /// Print a line per epoch instead of a progress bar, as when stderr is not a terminal
    #[arg(long)]
    no_progress: bool,
    /// Print only warnings and errors: no progress bar, no line per epoch, no model summary
    #[arg(long)]
    quiet: bool,
}

impl ProgressOptions {
    /// Applies `--quiet` to the log. Returns true if a progress bar is to be shown.
    pub fn apply(&self) -> bool {
        if self.quiet {
            log::set_max_level(LevelFilter::Warn);
        }
        !self.no_progress && !self.quiet
    }
}

/// Returns a parser of a model's name.
pub fn model() -> impl TypedValueParser<Value = Model> {
    let value = |model: Model| {
        PossibleValue::new(model.name()).help(match model {
            Model::Mlp => {
                "The multilayer perceptron, MNISTModel: two hidden layers of 256 and 128 units with dropout"
            }
            Model::Mlr => "Multinomial logistic regression, MNIST_MLR",
        })
    };
    PossibleValuesParser::new(Model::ALL.map(value)).try_map(|name| name.parse::<Model>())
}

/// Returns the option as typed on the command line.
pub fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

fn steps(text: &str) -> Result<RangeInclusive<usize>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let range = range.filter(|(from, to)| from <= to);
    range.map(|(from, to)| from..=to).ok_or_else(|| "must be two steps, such as 130..140".into())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use serde_json::Value;

    use crate::cli::{Cli, output};
    use islp_mnist::run::TrainOptions;

    #[test]
    fn the_help_shows_the_defaults_of_the_library() {
        let defaults = serde_json::to_value(TrainOptions::default()).unwrap();
        let command = Cli::command();
        for argument in command.find_subcommand("train").unwrap().get_arguments() {
            let default = match &defaults[argument.get_id().as_str()] {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let help = argument.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
    }

    /// Values that no numeric option accepts.
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
    fn an_invalid_value_is_refused_in_one_line_that_names_the_option() {
        for (option, out_of_range) in [
            ("--epochs", &["0", "9223372036854775808", "0.5"][..]),
            ("--batch-size", &["0", "9223372036854775808", "1e3"]),
            ("--validation", &["0", "1", "1.0000001", "1e-400"]),
            ("--seed", &["18446744073709551616", "0.0"]),
            ("--num-workers", &["18446744073709551616", "4.0"]),
            ("--lr", &["3.5e38", "1e308"]),
            ("--threads", &["0", "1025", "4294967297"]),
            ("--limit-train-batches", &["0", "0.0", "1.1", "9223372036854775808"]),
            ("--checkpoint-every", &["0", "9223372036854775808"]),
            ("--checkpoint-every-n-steps", &["0", "9223372036854775808"]),
            ("--trace-steps", &["5", "5..", "..5", "5..4", "1..=2", "1..2..3", "1...2"]),
            ("--vary", &["init", "init=", "seed=1", "init=+1", "init=01", "=1", "init=18446744073709551616"]),
            ("--max-time", &["10", "m", "99999999999999999999s", "1h 30x"]),
        ] {
            assert_refused(option, NO_NUMBERS.iter().chain(out_of_range));
        }
        assert_refused("--name", &["", ".", "..", "/", "a/b", "/a", "a/", ".a", "a\nb", "a\u{7f}"]);
        assert_refused("--trace-skip", &["", "**", "a*b*"]);
        assert_refused("--model", &["", "MLP", "mlp ", "cnn", "mlp,mlr"]);
    }

    fn assert_refused<'a>(option: &str, values: impl IntoIterator<Item = &'a &'a str>) {
        for value in values {
            let parsed = Cli::try_parse_from(["islp-mnist", "train", &format!("{option}={value}")]);
            let error = parsed.expect_err(&format!("{option}={value:?}"));
            let message = output::clap_message(&error);
            assert_eq!(error.exit_code(), 2, "{message}");
            assert!(message.contains(option) && !message.contains(char::is_control), "{message:?}");
        }
    }
}
