"""Writes a checkpoint that both sides read."""

from dataclasses import asdict

import safetensors.torch
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer, RMSprop

from islp_mnist import __version__
from islp_mnist.checkpoint.format import CUDA_GENERATOR, DTYPES, GENERATOR, METADATA, OPTIMIZER, digest, to_json
from islp_mnist.checkpoint.state import TrainerState
from islp_mnist.checkpoint.tensors import named_parameters, named_tensors, state_names


def serialize(module: torch.nn.Module, optimizer: Optimizer, state: TrainerState, hyper_parameters: str) -> bytes:
    named = named_tensors(module)
    tensors = dict(named)
    for name, parameter in named_parameters(named, optimizer).items():
        # A parameter that never had a gradient has no state yet. RMSprop's is 0 until then.
        of_parameter = optimizer.state.get(parameter, {})
        if not of_parameter and not isinstance(optimizer, RMSprop):
            continue
        steps = of_parameter.get("step")
        if steps is not None and not isinstance(optimizer, RMSprop) and steps != state.global_step:
            raise MisconfigurationException(
                f"{name} had {int(steps)} steps of {state.global_step}: a checkpoint contains only one count for all")
        for kind in state_names(optimizer):
            tensor = of_parameter.get(kind)
            tensors[f"{OPTIMIZER}{kind}.{name}"] = torch.zeros_like(parameter) if tensor is None else tensor
    tensors[GENERATOR] = torch.get_rng_state()
    device = next(iter(named.values())).device
    if device.type == "cuda":
        tensors[CUDA_GENERATOR] = torch.cuda.get_rng_state(device)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    dtypes = DTYPES | {torch.uint8: "U8"}
    entries = {name: (dtypes[tensor.dtype], list(tensor.shape), tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    progress = to_json({name: value for name, value in asdict(state).items()
                         if name not in ("lr_schedulers", "batch_progress") or value is not None})
    metadata = ",".join([
        f'{{"islp_mnist":"{__version__}"',
        f'"progress":{progress}',
        f'"hyper_parameters":{hyper_parameters}',
        f'"sha256":"{digest(entries, progress, hyper_parameters)}"}}',
    ])
    return safetensors.torch.save(tensors, {METADATA: metadata})
