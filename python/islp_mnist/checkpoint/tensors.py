"""The tensors of a module and its optimizer that a checkpoint contains, by name."""

import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from islp_mnist.checkpoint.format import DTYPES
from islp_mnist.names import unwrapped

# The optimizers whose state a checkpoint can contain, with the options that change what the state is.
OPTIMIZERS = {RMSprop: ["capturable"], SGD: [], Adam: ["amsgrad", "capturable"],
              AdamW: ["amsgrad", "capturable"]}


def named_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns the network's tensors by their names in state_dict(), each once, under its first name.

    Removes a wrapper's prefix, such as the `model.` of ISLP's SimpleModule, if all names begin with it.
    """
    tensors, seen = {}, set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in DTYPES:
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            kinds = ", ".join(str(dtype) for dtype in DTYPES)
            raise MisconfigurationException(
                f"{name} of {type(module).__name__} is of {kind}: a checkpoint contains only {kinds}")
        if tensor not in seen:
            seen.add(tensor)
            tensors[name] = tensor
    return unwrapped(tensors)


def state_names(optimizer: Optimizer) -> list[str]:
    """Returns the names of the states that the optimizer keeps of each parameter, without its count of steps."""
    if isinstance(optimizer, RMSprop):
        groups = optimizer.param_groups
        others = {"momentum_buffer": "momentum", "grad_avg": "centered"}
        return ["square_avg", *(name for name, option in others.items() if any(group[option] for group in groups))]
    if isinstance(optimizer, SGD):
        return ["momentum_buffer"] if any(group["momentum"] for group in optimizer.param_groups) else []
    return ["exp_avg", "exp_avg_sq"]


def named_parameters(tensors: dict[str, torch.Tensor], optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Returns the parameters that the optimizer updates, by their names in `tensors`."""
    options = OPTIMIZERS.get(type(optimizer))
    if options is None or any(group[option] for group in optimizer.param_groups for option in options):
        known = ", ".join(optimizer.__name__ for optimizer in OPTIMIZERS)
        raise MisconfigurationException(
            f"the optimizer is {type(optimizer).__name__}: a checkpoint contains only the state of {known}, of "
            "Adam and AdamW without amsgrad, and none is capturable")
    names = {tensor: name for name, tensor in tensors.items()}
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not all(parameter in names for parameter in moved):
        raise MisconfigurationException("the optimizer has parameters that are not the module's")
    return {names[parameter]: parameter for parameter in moved}
