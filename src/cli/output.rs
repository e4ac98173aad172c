//! What the program says: results on stdout, everything else on stderr.

use std::io::{self, ErrorKind, Write, stderr, stdout};

use anyhow::{Context, Result};
use log::{LevelFilter, Log, Metadata, Record};

/// Prints a line or several to stdout. That nobody reads them any more, as behind `| head`, is no error, and no reason
/// to end a run.
pub fn print_line(text: &str) -> io::Result<()> {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// As [`print_line`], for commands.
pub fn print(text: &str) -> Result<()> {
    print_line(text).context("cannot write to stdout")
}

/// Says something on stderr, where nobody need be listening.
pub fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// Has what the library logs, which is what Lightning says around a run, said on stderr.
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
            say(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
