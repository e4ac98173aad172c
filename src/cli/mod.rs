//! The command line: one file per subcommand, except `summary` and `completions`, which are here.

mod compare;
mod doctor;
mod hints;
mod options;
mod output;
mod plot;
mod predict;
mod report;
mod reproduce;
mod setup;
mod study;
mod test;
mod train;

use std::any::Any;
use std::cell::RefCell;
use std::io::{Write, stdout};
use std::panic::{self, PanicHookInfo};

use anyhow::Result;
use clap::builder::StyledStr;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::{Shell, generate};
use tch::{Device, nn::VarStore};

use hints::UsageError;
use islp_mnist::internals::panic_message;
use islp_mnist::notebook::models::Model;
use islp_mnist::run::AT_LEAST_ONE;
use islp_mnist::torch::Generator;
use islp_mnist::{torchinfo, torchvision::SIDE};
use output::{print, say_clap_error, say_error};

/// The MNIST notebook of ISLP in Rust: the same seed gives the same bits as Python.
#[derive(Debug, Parser)]
#[command(version, mut_subcommands(with_defaults_below))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reproduce(reproduce::ReproduceArgs),
    Train(train::TrainArgs),
    Study(study::StudyArgs),
    Test(test::TestArgs),
    Predict(predict::PredictArgs),
    Summary(SummaryArgs),
    Plot(plot::PlotArgs),
    Report(report::ReportArgs),
    Compare(compare::CompareArgs),
    Doctor(doctor::DoctorArgs),
    Completions(CompletionsArgs),
}

/// Parses the command line, runs the command, prints an error in one line, and ends the process.
pub fn main() -> ! {
    let exit_code = run();
    let _ = stdout().flush();
    // Returning would run libtorch's destructors first, which takes longer than some commands.
    signal_hook::low_level::exit(exit_code.into())
}

/// Returns the exit code.
fn run() -> u8 {
    output::log_to_stderr();
    // A panic's message is printed below, or as part of an error.
    panic::set_hook(Box::new(remember_place));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return say_clap_error(&error),
    };
    if let Err(error) = setup::survive_file_size_limit() {
        say_error(&format!("cannot catch signals: {error}"));
        return 1;
    }
    // For `compare`, 1 would mean that something differs.
    let failure = if matches!(cli.command, Command::Compare(_)) { 2 } else { 1 };
    match panic::catch_unwind(|| cli.run()) {
        Ok(Ok(exit_code)) => exit_code,
        Ok(Err(error)) => {
            say_error(&hints::explain(&error));
            hints::exit_code(&error)
        }
        Err(payload) => {
            say_error(&internal_error(&*payload));
            failure
        }
    }
}

/// In the long help, puts the defaults that are part of a text where clap puts those it knows: in their own paragraph.
/// clap does not know the default of an option that `train --resume` takes from a run.
fn with_defaults_below(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let help = arg.get_help().map(StyledStr::to_string).unwrap_or_default();
        match help.split_once(" [default: ") {
            Some((text, default)) => arg.long_help(format!("{text}\n\n[default: {default}")),
            None => arg,
        }
    })
}

thread_local! {
    /// The location of this thread's last panic, as file:line:column.
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn remember_place(panic: &PanicHookInfo) {
    if let Some(location) = panic.location() {
        PANIC_PLACE.set(location.to_string());
    }
}

/// The message for a panic that was caught in this thread.
fn internal_error(payload: &(dyn Any + Send)) -> String {
    let (place, message) = (PANIC_PLACE.take(), panic_message(payload));
    format!("internal error at {place}, please report it with the command line: {message}")
}

impl Cli {
    /// Runs the command and returns its exit code.
    fn run(self) -> Result<u8> {
        match self.command {
            Command::Reproduce(args) => reproduce::run(&args),
            Command::Train(args) => train::run(&args),
            Command::Study(args) => study::run(&args),
            Command::Test(args) => test::run(&args),
            Command::Predict(args) => predict::run(&args),
            Command::Summary(args) => print_summary(&args),
            Command::Plot(args) => plot::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Compare(args) => compare::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Completions(args) => print_completions(&args),
        }
    }
}

/// Print a model's layers with their shapes and parameters, as torchinfo does.
///
/// Example: islp-mnist summary --model mlr
#[derive(Args, Debug)]
struct SummaryArgs {
    /// Model to describe: mlp (multilayer perceptron) or mlr (multinomial logistic regression)
    #[arg(long, value_parser = options::model(), hide_possible_values = true, default_value = "mlp")]
    model: Model,
    /// Images per batch, the first number of each shape
    #[arg(long, default_value = "256", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    batch_size: usize,
}

fn print_summary(args: &SummaryArgs) -> Result<u8> {
    let vs = VarStore::new(Device::Cpu);
    let model = args.model.build(&vs.root(), &Generator::new(0))?;
    let summary = torchinfo::summary(&*model, &[args.batch_size as i64, 1, SIDE, SIDE])
        .map_err(|error| UsageError(format!("--batch-size {}: {error}", args.batch_size)))?;
    print(&summary.to_string())?;
    Ok(0)
}

/// Print the completion script for a shell.
///
/// Example: islp-mnist completions bash > ~/.local/share/bash-completion/completions/islp-mnist
#[derive(Args, Debug)]
struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "bash|elvish|fish|powershell|zsh", hide_possible_values = true)]
    shell: Shell,
}

fn print_completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = vec![];
    generate(args.shell, &mut Cli::command(), "islp-mnist", &mut script);
    // In bash scripts, clap spells a hyphen in the program's name in two ways, so no option completes: clap-rs/clap#6421.
    let script = String::from_utf8_lossy(&script).replace("islp__subcmd__mnist", "islp__mnist");
    print(script.trim_end())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::{internal_error, remember_place};

    #[test]
    fn an_internal_error_contains_its_location_and_message() {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            remember_place(panic);
            others(panic);
        }));
        let line = line!() + 1;
        let payload = panic::catch_unwind(|| panic!("C:\\new is no number")).unwrap_err();
        let message = internal_error(&*payload);
        assert!(message.contains(&format!("{}:{line}:", file!())), "{message}");
        assert!(message.ends_with("C:\\new is no number"), "{message}");
    }
}
