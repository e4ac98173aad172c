//! What the Trainer's loop tells its trace, as `scripts/parity_trace.py` tells it of Lightning's.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::islp::module::SimpleModule;
use crate::lightning::Error;
use crate::lightning::trainer::Trainer;
use crate::trace::State;

/// Where a step begins; nothing if there is no trace.
pub fn start_step(trainer: &mut Trainer, module: &SimpleModule) -> Result<(), Error> {
    let (epoch, step) = (trainer.current_epoch, trainer.global_step);
    let state = trainer.trace.is_some().then(|| state(trainer, module));
    if let (Some(trace), Some(state)) = (&mut trainer.trace, state) {
        trace.start_step(epoch, step, &state)?;
    }
    Ok(())
}

/// What the step just taken came to: batch, logits and loss, the gradients, which the optimizer has left as they were,
/// and the state.
pub fn end_step(
    trainer: &mut Trainer,
    module: &SimpleModule,
    [images, labels, logits, loss]: [&Tensor; 4],
    gradients: &[Tensor],
) -> Result<(), Error> {
    let state = trainer.trace.is_some().then(|| state(trainer, module));
    if let (Some(trace), Some(state)) = (&mut trainer.trace, state) {
        for (name, tensor) in [("input", images), ("target", labels), ("logits", logits), ("loss", loss)] {
            trace.record(name, tensor)?;
        }
        let names = module.optimizer.square_avg().map(|(name, _)| name);
        let gradients: BTreeMap<&str, &Tensor> = names.zip(gradients).collect();
        // In the order in which backward comes to them.
        for (name, _) in state.parameters.iter().rev() {
            trace.record(&format!("grad.{name}"), gradients[name.as_str()])?;
        }
        trace.end_step(&state)?;
    }
    Ok(())
}

fn state(trainer: &Trainer, module: &SimpleModule) -> State {
    State::of(&module.vs, &module.optimizer, &trainer.generator, trainer.global_step)
}
