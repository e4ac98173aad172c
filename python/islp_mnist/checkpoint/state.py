"""A checkpoint in memory: the progress of a run, its tensors, and how a module and its optimizer get them back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import torch
from torch.optim import SGD, Optimizer, RMSprop

from islp_mnist.checkpoint.files import shown
from islp_mnist.checkpoint.format import CUDA_GENERATOR, OPTIMIZER, CheckpointError
from islp_mnist.checkpoint.tensors import named_parameters, named_tensors, state_names
from islp_mnist.checkpoint.within_epoch import BatchProgress


@dataclass(frozen=True)
class TrainerState:
    """The progress of a run after an epoch, or within one."""

    epoch: int
    """The epoch just finished, or not yet if there is a `batch_progress`; from 0."""
    global_step: int
    """Training steps taken so far."""
    valid_loss: Optional[float]
    """Validation loss after that epoch; None if it was not finite or missing, or the epoch is not finished."""
    metrics_sha256: str
    """SHA-256 of metrics.csv at that time, in hexadecimal."""
    lr_schedulers: Optional[list[Any]] = None
    """The state of each learning-rate scheduler with its optimizer's options; None without one."""
    batch_progress: Optional[BatchProgress] = None
    """The progress within the epoch; None if it is finished."""

    @property
    def epochs_done(self) -> int:
        """Epochs finished so far."""
        return self.epoch if self.batch_progress else self.epoch + 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from disk."""

    path: Path
    state: TrainerState
    hyper_parameters: Any
    """The run's options, from JSON."""
    weights: dict[str, torch.Tensor]
    """Parameters and buffers."""
    states: dict[str, dict[str, torch.Tensor]]
    """The optimizer's states of the parameters, by their names in PyTorch, such as `square_avg`."""
    generator: torch.Tensor
    """The argument for torch.set_rng_state."""
    cuda_generator: Optional[torch.Tensor] = None
    """The argument for torch.cuda.set_rng_state; None if dropout did not draw from CUDA's generator."""

    def restore(self, module: torch.nn.Module, optimizer: Optimizer):
        """Restores a network or a LightningModule, its optimizer and torch's global generator, on a GPU also the GPU's.

        Raises CheckpointError for a checkpoint of another model, and then changes nothing.
        """
        tensors, model = named_tensors(module), type(module).__name__
        trained, kinds = named_parameters(tensors, optimizer), state_names(optimizer)
        try:
            for name, tensor in self.weights.items():
                if name not in tensors:
                    raise CheckpointError(f"{shown(name)} is not a parameter of {model}")
                _check_alike(name, tensor, tensors[name], lambda expected: f"but {expected} in {model}")
            for name in tensors:
                if name not in self.weights:
                    raise CheckpointError(f"lacks {name} of {model}")
            for kind, states in self.states.items():
                for name, tensor in states.items():
                    if name not in trained:
                        raise CheckpointError(f"{OPTIMIZER}{shown(kind)}.{shown(name)} belongs to no parameter")
                    if kind not in kinds:
                        raise CheckpointError(f"{OPTIMIZER}{shown(kind)}.{shown(name)} belongs to another optimizer")
                    _check_alike(f"{OPTIMIZER}{kind}.{name}", tensor, trained[name], lambda expected: f"not {expected}")
            # Adam and SGD keep no state of a parameter that never had a gradient.
            stateless = set() if isinstance(optimizer, RMSprop) else set(trained).difference(*self.states.values())
            if kinds and trained and not any(kind in self.states for kind in kinds):
                raise CheckpointError(f"lacks {OPTIMIZER}{kinds[0]}.{next(iter(trained))}")
            for kind in kinds:
                for name in trained.keys() - stateless:
                    if name not in self.states.get(kind, {}):
                        raise CheckpointError(f"lacks {OPTIMIZER}{kind}.{name}")
            device = next(iter(tensors.values())).device
            if device.type == "cuda" and self.cuda_generator is None:
                raise CheckpointError(f"lacks {CUDA_GENERATOR}")
            if device.type != "cuda" and self.cuda_generator is not None:
                raise CheckpointError(f"{CUDA_GENERATOR} belongs to a run whose dropout draws from CUDA's generator")
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(self.weights[name])
        for name, parameter in trained.items():
            if name in stateless:
                continue
            optimizer.state[parameter] = state = {}
            if not isinstance(optimizer, SGD):
                state["step"] = torch.tensor(float(self.state.global_step))
            for kind in kinds:
                state[kind] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state[kind].copy_(self.states[kind][name])
        torch.set_rng_state(self.generator)
        if self.cuda_generator is not None:
            torch.cuda.set_rng_state(self.cuda_generator, device)


def _check_alike(name: str, tensor: torch.Tensor, like: torch.Tensor, instead: Callable[[Any], str]):
    """Raises CheckpointError if a tensor has another shape or dtype; `instead` words what is expected."""
    for verb, found, expected in ("has shape", list(tensor.shape), list(like.shape)), ("is of", tensor.dtype, like.dtype):
        if found != expected:
            raise CheckpointError(f"{name} {verb} {found}, {instead(expected)}")
