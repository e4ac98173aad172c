//! Parses, dispatches, prints one readable error line, sets the exit code.
#![forbid(unsafe_code)]

use std::io::{Write, stderr, stdout};
use std::panic;

use clap::error::ErrorKind;
use islp_mnist::commands::{Cli, UsageError};
use islp_mnist::divergence::Divergence;
use islp_mnist::interrupt::survive_file_size_limit;
use islp_mnist::options::first_paragraph;
use islp_mnist::torch_error::{panic_message, without_backtrace};
use signal_hook::low_level::exit;

fn main() {
    let exit_code = run();
    let _ = stdout().flush();
    // Everything is written by now. Returning would have libtorch take itself apart first, which takes longer than some
    // commands.
    exit(exit_code.into());
}

/// The exit code.
fn run() -> u8 {
    // What a panic says is printed below, or in the error it was made into.
    panic::set_hook(Box::new(|_| {}));
    let cli = match Cli::from_args() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if let Err(error) = survive_file_size_limit() {
        report(&format!("cannot catch signals: {error}"));
        return 1;
    }
    match panic::catch_unwind(|| cli.run()) {
        Ok(Ok(exit_code)) => exit_code,
        Ok(Err(error)) => {
            report(without_backtrace(&format!("{error:#}")));
            match error {
                error if error.is::<UsageError>() => 2,
                error if error.is::<Divergence>() => 3,
                _ => 1,
            }
        }
        Err(panic) => {
            report(&format!(
                "internal error, please report it with the command line: {}",
                panic_message(&*panic)
            ));
            1
        }
    }
}

/// clap's help goes to stdout as it is; of an error only its first line and where help is.
fn usage(error: &clap::Error) -> u8 {
    let text = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return 0;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given".to_string(),
        _ => first_paragraph(error),
    };
    report(&format!("{text}; try '--help'"));
    2
}

fn report(message: &str) {
    let hint = if message.contains("can't allocate memory") {
        "not enough memory, a smaller --batch-size takes less: "
    } else {
        ""
    };
    let _ = writeln!(stderr(), "error: {hint}{message}");
}
