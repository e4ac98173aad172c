"""Checks that models that are compiled, in DistributedDataParallel or in a LightningModule keep the model's own names.

python tests/wrapped.py FOLDER, which must be empty. Writes to it plain.safetensors, a checkpoint; wrapped.safetensors, the
same with `module.` before all parameters' names; and plain.trace and wrapped.trace, of a network and its
compiled form.
"""

import json
import sys
from pathlib import Path

import safetensors.torch
import torch
from islp_mnist import __version__
from islp_mnist.checkpoint import CheckpointError, load_checkpoint, named_tensors
from islp_mnist.checkpoint.convert import to_safetensors
from islp_mnist.checkpoint.format import digest
from islp_mnist.names import OneName, wrapper
from islp_mnist.trace import Trace
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FOLDER = Path(sys.argv[1])
MODEL = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
NAMES = set(MODEL.state_dict())


class Data(LightningModule):
    def __init__(self, network):
        super().__init__()
        self.model = network

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters())


def compiled(network):
    return torch.compile(network, backend="eager")


class Parallel(nn.Module):
    """Has the same names as DistributedDataParallel, which would need a process group."""

    def __init__(self, network):
        super().__init__()
        self.module = network

    def forward(self, x):
        return self.module(x)


def convert(state_dict, is_lightning=False):
    """Returns the tensors that parity_checkpoint.py converts a pickle to."""
    torch.save({"state_dict": state_dict} if is_lightning else state_dict, FOLDER / "weights.pt")
    out = FOLDER / "out.safetensors"
    to_safetensors(FOLDER / "weights.pt", out)
    return safetensors.torch.load_file(out)


WRAPPED = [compiled(MODEL), Parallel(MODEL), Parallel(compiled(MODEL)), Data(MODEL), Data(compiled(MODEL))]
for network in WRAPPED:
    assert set(named_tensors(network)) == NAMES, list(named_tensors(network))
    prefix = wrapper(network.state_dict())
    assert prefix and all(name.startswith(prefix) for name in network.state_dict())
    for is_lightning in False, True:
        assert set(convert(network.state_dict(), is_lightning)) == NAMES

# A prefix is removed only if all names have it, and similar names stay distinct.
one, two = torch.ones(1), torch.zeros(1)
for is_lightning in False, True:
    assert set(convert({"model.a": one, "a": two}, is_lightning)) == {"model.a", "a"}
    assert set(convert({"model.a": one, "loss.b": two}, is_lightning)) == {"model.a", "loss.b"}
# Two different views of the same memory stay two tensors, and so do two empty tensors.
square = torch.arange(4.0).reshape(2, 2)
tensors = convert({"a": square, "b": square.T, "c": torch.empty(0), "d": torch.empty(0)})
assert set(tensors) == set("abcd") and tensors["b"].equal(square.T.contiguous())
try:
    convert({1: one})
except SystemExit as error:
    assert "something other than tensors by name" in str(error), error
else:
    raise AssertionError("a number was accepted as a name")


def write(path, tensors):
    """Writes a checkpoint of these tensors with a valid checksum."""
    dtypes = {torch.float32: "F32", torch.uint8: "U8"}
    entries = {name: (dtypes[tensor.dtype], tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    progress = json.dumps({"epoch": 0, "global_step": 5, "valid_loss": None, "metrics_sha256": ""})
    sha256 = digest(entries, progress, "{}")
    metadata = f'{{"islp_mnist":"{__version__}","progress":{progress},"hyper_parameters":{{}},"sha256":"{sha256}"}}'
    path.write_bytes(safetensors.torch.save(tensors, {"checkpoint": metadata}))


def checkpoint(prefix, more=()):
    tensors = {"generator.state": torch.get_rng_state(), **dict(more)}
    for name, tensor in MODEL.state_dict().items():
        tensors[prefix + name] = tensor
        tensors[f"optimizer.square_avg.{prefix}{name}"] = tensor.square()
    return tensors


write(FOLDER / "plain.safetensors", checkpoint(""))
write(FOLDER / "wrapped.safetensors", checkpoint("module."))
loaded = load_checkpoint(FOLDER / "wrapped.safetensors")
assert set(loaded.weights) == set(loaded.states["square_avg"]) == NAMES
for network in MODEL, *WRAPPED:
    loaded.restore(network, torch.optim.RMSprop(network.parameters()))
# One parameter's average under two names.
twice = [("optimizer.square_avg.0.bias", torch.zeros(3))]
write(FOLDER / "twice.safetensors", checkpoint("module.", twice))
try:
    load_checkpoint(FOLDER / "twice.safetensors")
except CheckpointError as error:
    assert "optimizer.square_avg.0.bias" in str(error) or "0.bias and module.0.bias" in str(error), error
    assert "module.0.bias" in str(error), error
else:
    raise AssertionError("one of the two was lost")


def fit(module, name):
    torch.manual_seed(1)
    MODEL.load_state_dict(START)
    # The layers of a compiled model have no outputs of their own.
    trace = Trace(FOLDER / name, skip=["forward.*"])
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, accelerator="cpu", callbacks=[trace])
    trainer.fit(module, DataLoader(TensorDataset(torch.randn(20, 4), torch.arange(20) % 2), 5))


START = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}
fit(Data(MODEL), "plain.trace")
fit(Data(compiled(MODEL)), "wrapped.trace")


class Clash(Data):
    def __init__(self):
        super().__init__(MODEL)
        self.part = nn.Module()
        self.part.register_parameter("weight", nn.Parameter(torch.ones(1)))
        self.part.add_module("_orig_mod", nn.Linear(4, 2))


try:
    fit(Clash(), "clash.trace")
except OneName as error:
    assert "part._orig_mod.weight" in str(error) and "part.weight" in str(error), error
else:
    raise AssertionError("one of the two was lost")
