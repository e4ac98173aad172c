//! Parses, dispatches, prints one readable error line, sets the exit code.
#![forbid(unsafe_code)]

use std::io::{Write, stderr};
use std::panic;
use std::process::ExitCode;

use clap::error::ErrorKind;
use islp_mnist::commands::{Cli, UsageError};
use islp_mnist::divergence::Divergence;
use islp_mnist::interrupt::survive_file_size_limit;
use islp_mnist::options::first_paragraph;
use islp_mnist::torch_error::{panic_message, without_backtrace};

fn main() -> ExitCode {
    // What a panic says is printed below, or in the error it was made into.
    panic::set_hook(Box::new(|_| {}));
    let cli = match Cli::from_args() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if let Err(error) = survive_file_size_limit() {
        report(&format!("cannot catch signals: {error}"));
        return ExitCode::FAILURE;
    }
    match panic::catch_unwind(|| cli.run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            report(without_backtrace(&format!("{error:#}")));
            ExitCode::from(match error {
                error if error.is::<UsageError>() => 2,
                error if error.is::<Divergence>() => 3,
                _ => 1,
            })
        }
        Err(panic) => {
            report(&format!(
                "internal error, please report it with the command line: {}",
                panic_message(&*panic)
            ));
            ExitCode::FAILURE
        }
    }
}

/// clap's help goes to stdout as it is; of an error only its first line and where help is.
fn usage(error: &clap::Error) -> ExitCode {
    let text = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given".to_string(),
        _ => first_paragraph(error),
    };
    report(&format!("{text}; try '--help'"));
    ExitCode::from(2)
}

fn report(message: &str) {
    let hint = if message.contains("can't allocate memory") {
        "not enough memory, a smaller --batch-size takes less: "
    } else {
        ""
    };
    let _ = writeln!(stderr(), "error: {hint}{message}");
}
