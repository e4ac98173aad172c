"""Reads an nn.Module: the layers that a forward pass runs, one after the other."""

from contextlib import ExitStack
from typing import Any, Union

import torch
from torch import nn

from islp_mnist.training import rng
from islp_mnist.training.unsupported import Unsupported

# A layer as the compiled part takes it: its class, ("Dropout", p), or a linear layer's name, weight and bias.
Layer = Union[str, tuple[str, float], tuple[str, torch.Tensor, Union[torch.Tensor, None]]]


def called(model: nn.Module, inputs: torch.Tensor) -> list[nn.Module]:
    """Returns the modules without other modules inside that `model` runs on `inputs`, `[N, ...]`, one after the other.

    Raises Unsupported for anything but Sequential, Flatten, Linear, ReLU, Dropout and Identity, in any module whose forward
    calls them one after the other.
    """
    _check_modules(model)
    modules = _called(model, inputs)
    _check_parameters(model, layers(model, modules))
    return modules


def layers(model: nn.Module, modules: list[nn.Module]) -> list[Layer]:
    """Returns the layers that these modules of `model` are now."""
    _check_modules(model)
    names = {module: name for name, module in model.named_modules()}
    found: list[Layer] = []
    after_relu = False
    for module in modules:
        name = names.get(module)
        if name is None:
            raise Unsupported(f"{type(module).__name__} is no longer part of the model")
        if after_relu and getattr(module, "inplace", False):
            raise Unsupported(f"{module} ({name}) overwrites the output of a ReLU, which its gradient needs")
        after_relu = type(module) is nn.ReLU or after_relu and type(module) is not nn.Linear
        if type(module) is nn.Flatten:
            if (module.start_dim, module.end_dim) != (1, -1):
                raise Unsupported(f"{module} ({name}) flattens other dimensions than all but the first")
            found.append("Flatten")
        elif type(module) is nn.Linear:
            found.append((name, module.weight, module.bias))
        elif type(module) is nn.ReLU:
            found.append("ReLU")
        elif type(module) is nn.Dropout:
            found.append(("Dropout", float(module.p)))
        elif type(module) is not nn.Identity:
            raise Unsupported(f"{type(module).__name__} ({name or 'the model'}) is a layer that Rust does not have")
    return found


def _check_modules(model: nn.Module):
    if nn.modules.module._has_any_global_hook():
        raise Unsupported("all modules have a hook, which Rust would not call")
    for name, module in model.named_modules():
        name = name or "the model"
        if not module.training:
            raise Unsupported(f"{name} is in evaluation mode")
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        if any(hooks):
            raise Unsupported(f"{name} has a hook, which Rust would not call")
    for name, _ in model.named_buffers():
        raise Unsupported(f"the model has a buffer, {name}, which only other layers than Rust's have")
    for name, parameter in model.named_parameters():
        if parameter.device.type != "cpu":
            raise Unsupported(f"the parameter {name} is on {parameter.device}, not on the CPU")
        if parameter.dtype != torch.float32:
            raise Unsupported(f"the parameter {name} is {parameter.dtype}, not torch.float32")
        if not parameter.requires_grad:
            raise Unsupported(f"the parameter {name} is frozen")
        if not parameter.numel():
            raise Unsupported(f"the parameter {name} is empty")
        if not parameter.is_contiguous():
            raise Unsupported(f"the parameter {name} is not contiguous in memory")
        if parameter.untyped_storage().nbytes() < 4 * (parameter.storage_offset() + parameter.numel()):
            raise Unsupported(f"the memory of the parameter {name} is freed")
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise Unsupported(f"the parameter {name} has a hook, which Rust would not call")


def _called(model: nn.Module, inputs: torch.Tensor) -> list[nn.Module]:
    """Runs `model` and returns the modules without others inside that it called, if each took the last one's output."""
    names = {module: name for name, module in model.named_modules()}
    called: list[nn.Module] = []
    last: Any = inputs
    broken = ""

    def after(module: nn.Module, arguments: tuple, output: Any):
        nonlocal last, broken
        if not broken and (len(arguments) != 1 or arguments[0] is not last):
            broken = f"{type(module).__name__} ({names[module]}) takes something other than the output of the layer before"
        called.append(module)
        last = output

    leaves = [module for module in model.modules() if type(module) is not nn.Sequential and not any(module.children())]
    with ExitStack() as stack, torch.no_grad(), rng.forked():
        for module in leaves:
            stack.callback(module.register_forward_hook(after).remove)
        try:
            output = model(inputs)
        except Exception as error:
            raise Unsupported(f"{type(model).__name__} does not take the data: {error}") from error
    if not broken and output is not last:
        broken = f"{type(model).__name__} computes its output from its last layer's, by more than a module"
    if broken:
        raise Unsupported(broken)
    return called


def parameters(found: list[Layer]) -> list[tuple[str, torch.Tensor]]:
    """Returns these layers' parameters by name. A Linear that is the model has no name."""
    linear = [layer for layer in found if isinstance(layer, tuple) and len(layer) == 3]
    named = [(f"{name}.{key}" if name else key, tensor) for name, *tensors in linear for key, tensor in zip(("weight", "bias"), tensors)]
    return [(name, tensor) for name, tensor in named if tensor is not None]


def _check_parameters(model: nn.Module, found: list[Layer]):
    owned = [id(tensor) for _, tensor in parameters(found)]
    if len(set(owned)) != len(owned):
        raise Unsupported("two layers share a parameter")
    for name, parameter in model.named_parameters():
        if id(parameter) not in owned:
            raise Unsupported(f"the parameter {name} does not belong to a Linear layer of the forward pass")
    storages = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    if len(storages) != len(owned):
        raise Unsupported("two parameters share memory")
    if not owned:
        raise Unsupported(f"{type(model).__name__} has no parameters")
