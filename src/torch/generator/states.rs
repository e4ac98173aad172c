//! The states of all that a training draws from, by their names in checkpoints and traces.

use tch::Device;

use super::Generator;
use crate::torch::Error;
use crate::torch::mt19937::Mt19937;

/// As `torch.get_rng_state()` has it.
pub(crate) const MAIN: &str = "generator.state";
/// As `torch.cuda.get_rng_state()` has it; where dropout draws from that.
const CUDA: &str = "generator.cuda.state";
/// Of the second stream, where a source of randomness other than the split is varied.
const VARIED: &str = "generator.varied.state";
pub(crate) const ALL: [&str; 3] = [MAIN, CUDA, VARIED];

impl Generator {
    /// Those of a training on this device.
    pub(crate) fn states(&self, device: Device) -> Vec<(&'static str, Vec<u8>)> {
        let mut states = vec![(MAIN, self.get_state())];
        if self.draws_dropout_from_cuda(device) {
            states.push((CUDA, self.cuda().get_state()));
        }
        if let Some((_, stream)) = &self.streams().varied {
            states.push((VARIED, stream.to_bytes()));
        }
        states
    }

    /// Sets the one of this name.
    ///
    /// # Errors
    /// Bytes that are no such state.
    pub(crate) fn set_state_of(&self, name: &str, state: &[u8]) -> Result<(), Error> {
        if name == CUDA {
            return self.cuda().set_state(state);
        }
        let stream = Mt19937::from_bytes(state)?;
        let streams = &mut *self.streams();
        match &mut streams.varied {
            Some((_, varied)) if name == VARIED => *varied = stream,
            _ if name == MAIN => streams.main = stream,
            _ => return Err(Error::GeneratorState(format!("{name} is of none that draws here"))),
        }
        Ok(())
    }
}
