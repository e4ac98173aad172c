//! Parses, dispatches, prints one readable error line, sets the exit code.

use std::io::{Write, stderr};
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use islp_mnist::commands::{Cli, UsageError};

fn main() -> ExitCode {
    // tch's infallible calls panic with libtorch's message and its C++ backtrace; the first line says it all.
    panic::set_hook(Box::new(|info| {
        let message =
            info.payload_as_str().unwrap_or("unknown").lines().next().unwrap_or_default().to_string();
        report(&format!("internal error: {message}; please report it with the command line"));
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match panic::catch_unwind(|| cli.run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            report(&one_line(&format!("{error:#}")));
            if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// clap's help goes to stdout as it is; of an error only its first line and where help is.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given".to_string(),
        _ => error.render().to_string(),
    };
    // Lists, such as that of missing arguments, stand indented on lines of their own.
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    report(&format!("{}; try '--help'", words.join(" ")));
    ExitCode::from(2)
}

/// A message of libtorch ends where its C++ backtrace begins.
fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_string()
}

fn report(message: &str) {
    let _ = writeln!(stderr(), "error: {message}");
}
