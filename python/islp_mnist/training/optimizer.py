"""Reads an optimizer of torch.optim, and passes its state between Python and Rust."""

from typing import Any

import torch
from torch import nn

from islp_mnist.training.unsupported import Unsupported

# The options that Rust's optimizers have too.
KNOWN = {
    torch.optim.RMSprop: ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize"),
    torch.optim.SGD: ("lr", "momentum", "dampening", "weight_decay", "nesterov"),
    torch.optim.Adam: ("lr", "betas", "eps", "weight_decay"),
    torch.optim.AdamW: ("lr", "betas", "eps", "weight_decay"),
}
# The states that they keep for each parameter, in the order in which Python adds them.
STATES = "square_avg", "momentum_buffer", "grad_avg", "exp_avg", "exp_avg_sq"
# These choose another path than the default one on the CPU, or another rule. AdamW's rule is named too.
OTHERS = "foreach", "fused", "capturable", "differentiable", "amsgrad", "maximize", "decoupled_weight_decay"


def options(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    """Returns the optimizer's name and its options. Raises Unsupported if Rust does not have them."""
    name = type(optimizer).__name__
    known = KNOWN.get(type(optimizer))
    if known is None:
        raise Unsupported(f"{name} is an optimizer that Rust does not have")
    if len(optimizer.param_groups) != 1:
        raise Unsupported(f"{name} has {len(optimizer.param_groups)} groups of parameters, not one")
    group = optimizer.param_groups[0]
    if {id(parameter) for parameter in group["params"]} != {id(parameter) for parameter in model.parameters()}:
        raise Unsupported(f"{name} has other parameters than the model")
    expected = {"decoupled_weight_decay": True} if type(optimizer) is torch.optim.AdamW else {}
    for option in OTHERS:
        if option not in known and bool(group.get(option)) != expected.get(option, False):
            raise Unsupported(f"{name} has {option}={group[option]}")
    found = {option: group[option] for option in known}
    for option, value in found.items():
        if not all(isinstance(number, (int, float)) for number in (value if isinstance(value, tuple) else [value])):
            raise Unsupported(f"{name} has {option}={value}, not a number")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise Unsupported(f"{name} has a hook, which Rust would not call")
    return {"name": name, **found}


def to_rust(optimizer: torch.optim.Optimizer, names: dict[torch.Tensor, str], module: Any):
    """Copies the optimizer's state to Rust; nothing if it has none yet."""
    states = module.optimizer_states()
    for parameter, state in optimizer.state.items():
        for key, by_name in states.items():
            if (value := state.get(key)) is not None:
                by_name[names[parameter]].copy_(value)
                # SGD's first step is another one; it does not count them.
                module.set_steps(int(state.get("step", 1)))


def from_rust(optimizer: torch.optim.Optimizer, names: dict[torch.Tensor, str], module: Any, steps: int):
    """Copies the state after `steps` more steps from Rust."""
    states = module.optimizer_states()
    for parameter in optimizer.param_groups[0]["params"] if states else ():
        state = optimizer.state[parameter]
        if type(optimizer) is not torch.optim.SGD:
            state.setdefault("step", torch.tensor(0.0)).add_(steps)
        for key in sorted(states, key=STATES.index):
            value = states[key][names[parameter]]
            if state.get(key) is None:
                state[key] = value.clone()
            else:
                state[key].copy_(value)
