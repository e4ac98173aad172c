//! `--no-progress` and `--quiet`: what a running command prints on stderr.

use clap::Args;
use log::LevelFilter;

/// How much a long command prints.
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
    /// Applies `--quiet` to the log. Returns whether to show a progress bar.
    pub fn apply(&self) -> bool {
        if self.quiet {
            log::set_max_level(LevelFilter::Warn);
        }
        !self.no_progress && !self.quiet
    }
}
