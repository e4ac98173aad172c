//! The options of a trace, which `train` and `reproduce` write.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;

use islp_mnist::lightning;
use islp_mnist::trace::Trace;

/// A trace of what every step comes to. It changes nothing of what a run computes.
#[derive(Args, Clone, Debug)]
pub struct TraceOptions {
    /// Write down in this new file what every training step comes to, for `compare`
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Keep the tensors themselves of these steps, such as 130..140; the first is 0, the last is included
    #[arg(long, value_name = "FROM..TO", requires = "trace", value_parser = steps)]
    pub trace_steps: Option<RangeInclusive<usize>>,
}

impl TraceOptions {
    /// The trace that is asked for, in a new file.
    pub fn create(&self) -> Result<Option<Trace>, lightning::Error> {
        Ok(self.trace.as_deref().map(|path| Trace::create(path, self.trace_steps.clone())).transpose()?)
    }
}

fn steps(text: &str) -> Result<RangeInclusive<usize>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let range = range.filter(|(from, to)| from <= to);
    range.map(|(from, to)| from..=to).ok_or_else(|| "must be two steps, such as 130..140".into())
}
