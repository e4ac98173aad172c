//! `--no-progress` and `--quiet`: what is said on stderr while a run goes on.

use clap::Args;
use log::LevelFilter;

/// How much a command says that may take long.
#[derive(Args, Clone, Debug)]
pub struct ProgressOptions {
    /// No progress bar where stderr is a terminal, but a line for each epoch, as elsewhere
    #[arg(long)]
    no_progress: bool,
    /// Say nothing but warnings and errors: no progress bar, no line for each epoch, no summary of the model
    #[arg(long)]
    quiet: bool,
}

impl ProgressOptions {
    /// Has only warnings said from now on, if so asked for; whether there is to be a progress bar.
    pub fn apply(&self) -> bool {
        if self.quiet {
            log::set_max_level(LevelFilter::Warn);
        }
        !self.no_progress && !self.quiet
    }
}
