//! What the Trainer's loop tells its trace, as `scripts/parity_trace.py` tells it of Lightning's.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::islp::module::SimpleModule;
use crate::lightning::Error;
use crate::torch::generator::Generator;
use crate::trace::{State, Trace};

/// What the step came to after which there were so many: batch, logits and loss, the gradients, which the optimizer has
/// left as they were, and the state.
pub fn end(
    trace: &mut Trace,
    steps: usize,
    module: &SimpleModule,
    generator: &Generator,
    [images, labels, logits, loss]: [&Tensor; 4],
    gradients: &[Tensor],
) -> Result<(), Error> {
    for (name, tensor) in [("input", images), ("target", labels), ("logits", logits), ("loss", loss)] {
        trace.record(name, tensor)?;
    }
    let state = State::of(&module.vs, &module.optimizer, generator, steps);
    let names = module.optimizer.square_avg().map(|(name, _)| name);
    let gradients: BTreeMap<&str, &Tensor> = names.zip(gradients).collect();
    // In the order of the backward pass.
    for (name, _) in state.parameters.iter().rev() {
        trace.record(&format!("grad.{name}"), gradients[name.as_str()])?;
    }
    Ok(trace.end_step(&state)?)
}
