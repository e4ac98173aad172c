//! Output: results on stdout, everything else on stderr.

use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use log::{LevelFilter, Log, Metadata, Record};

use islp_mnist::util::text::shown;

/// Prints one or more lines to stdout. A closed pipe, as with `| head`, is not an error and does not end a run.
pub fn print_line(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints like [`print_line`], with an error for commands.
pub fn print(text: &str) -> Result<()> {
    print_line(text).context("cannot write to stdout")
}

/// Prints the bytes of a path, so that `$(islp-mnist …)` in a script is that path even if it is not UTF-8.
pub fn print_path(path: &Path) -> Result<()> {
    print_bytes(path.as_os_str().as_bytes()).context("cannot write to stdout")
}

fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    match stdout().write_all(&[bytes, b"\n"].concat()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Prints a single line to stderr, whatever the names of paths in it contain. A closed stderr is not an error.
pub fn say(line: &str) {
    write_to_stderr(&shown(line));
}

/// Prints an error to stderr.
pub fn say_error(text: &str) {
    say(&format!("error: {text}"));
}

fn write_to_stderr(lines: &str) {
    let _ = writeln!(stderr(), "{lines}");
}

/// Prints help to stdout, or an error in one line to stderr. Returns the exit code.
pub fn say_clap_error(error: &clap::Error) -> u8 {
    let text = match error.kind() {
        ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion => {
            // The pipe may be closed, as with `| head`.
            let _ = error.print();
            return 0;
        }
        ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given".to_string(),
        _ => clap_message(error),
    };
    say_error(&format!("{text}; try '--help'"));
    2
}

/// Formats a clap error in one line: without "error: " and the usage, but with its suggestion.
pub fn clap_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    // Lists, such as that of missing arguments, are indented on lines of their own.
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    match suggestion(error) {
        Some(meant) => format!("{first}; did you mean '{meant}'?"),
        None => first,
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.clone()),
        ContextValue::Strings(meant) => meant.first().cloned(),
        _ => None,
    })
}

/// Prints to stderr what the library logs, such as Lightning's lines around a run.
pub fn log_to_stderr() {
    static STDERR: Stderr = Stderr;
    if log::set_logger(&STDERR).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            write_to_stderr(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
