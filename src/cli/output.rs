//! What the program says: results on stdout, everything else on stderr.

use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use log::{LevelFilter, Log, Metadata, Record};

use islp_mnist::util::text::shown;

/// Prints a line or several to stdout. That nobody reads them any more, as behind `| head`, is no error, and no reason
/// to end a run.
pub fn print_line(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print_line`], for commands.
pub fn print(text: &str) -> Result<()> {
    print_line(text).context("cannot write to stdout")
}

/// Prints a path, byte for byte, so that `$(islp-mnist …)` in a script is that path whatever its name.
pub fn print_path(path: &Path) -> Result<()> {
    print_bytes(path.as_os_str().as_bytes()).context("cannot write to stdout")
}

fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    match stdout().write_all(&[bytes, b"\n"].concat()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Says something on stderr, where nobody need be listening: a line, whatever stands in a path or a file that it names.
pub fn say(line: &str) {
    write_to_stderr(&shown(line));
}

/// Says what went wrong.
pub fn say_error(text: &str) {
    say(&format!("error: {text}"));
}

fn write_to_stderr(lines: &str) {
    let _ = writeln!(stderr(), "{lines}");
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
            write_to_stderr(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
