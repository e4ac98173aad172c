//! Parses, dispatches, prints one readable error line, sets the exit code.
#![forbid(unsafe_code)]

use std::io::{Write, stderr};
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use islp_mnist::commands::{Cli, UsageError};

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| report(&panic_message(info.payload_as_str().unwrap_or("unknown")))));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match panic::catch_unwind(|| cli.run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            report(without_backtrace(&format!("{error:#}")));
            if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
        Err(_) => ExitCode::FAILURE,
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
        _ => error.render().to_string(),
    };
    // Lists, such as that of missing arguments, stand indented on lines of their own.
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    report(&format!("{}; try '--help'", words.join(" ")));
    ExitCode::from(2)
}

/// tch's infallible calls panic with libtorch's message inside what `unwrap` says.
fn panic_message(payload: &str) -> String {
    let message = without_backtrace(payload);
    let message = message.split_once("Torch(\"").map_or(message, |(_, of_libtorch)| of_libtorch);
    if message.contains("can't allocate memory") {
        return format!("not enough memory, a smaller --batch-size takes less: {message}");
    }
    format!("internal error, please report it with the command line: {message}")
}

/// libtorch's messages go on with a C++ backtrace on further lines, which `unwrap` shows as `\n`.
fn without_backtrace(message: &str) -> &str {
    let first_line = message.lines().next().unwrap_or_default();
    first_line.split("\\n").next().unwrap_or_default()
}

fn report(message: &str) {
    let _ = writeln!(stderr(), "error: {message}");
}

#[cfg(test)]
mod tests {
    use super::{panic_message, without_backtrace};

    #[test]
    fn no_backtrace_of_libtorch_reaches_the_user() {
        let error = "Internal torch error: sizes differ\nException raised from infer_size at ...\nframe #0: c10::Error";
        assert_eq!(without_backtrace(error), "Internal torch error: sizes differ");
        let unwrapped =
            r#"called `Result::unwrap()` on an `Err` value: Torch("sizes differ\nframe #0: c10::Error")"#;
        assert_eq!(
            panic_message(unwrapped),
            "internal error, please report it with the command line: sizes differ"
        );
        let unwrapped = r#"called `Result::unwrap()` on an `Err` value: Torch("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nframe #0")"#;
        assert_eq!(
            panic_message(unwrapped),
            "not enough memory, a smaller --batch-size takes less: [enforce fail at alloc_cpu.cpp:127] err == 0. \
             DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        );
    }
}
