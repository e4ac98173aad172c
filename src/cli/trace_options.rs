//! The trace options of `train` and `reproduce`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;

use islp_mnist::lightning;
use islp_mnist::trace::Trace;

/// A trace of every step. It does not change the results.
#[derive(Args, Clone, Debug)]
pub struct TraceOptions {
    /// Record every training step in this new file, for `compare`
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Also record the tensors of these steps, such as 130..140; steps count from 0, and the last one is included
    #[arg(long, value_name = "FROM..TO", requires = "trace", value_parser = steps)]
    pub trace_steps: Option<RangeInclusive<usize>>,
}

impl TraceOptions {
    /// Creates the file, if a trace was asked for.
    pub fn create(&self) -> Result<Option<Trace>, lightning::Error> {
        Ok(self.trace.as_deref().map(|path| Trace::create(path, self.trace_steps.clone())).transpose()?)
    }
}

fn steps(text: &str) -> Result<RangeInclusive<usize>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let range = range.filter(|(from, to)| from <= to);
    range.map(|(from, to)| from..=to).ok_or_else(|| "must be two steps, such as 130..140".into())
}
