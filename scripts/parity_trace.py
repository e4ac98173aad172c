"""Records every step of a training in a file that `islp-mnist compare` reads.

`Trace` is a Lightning callback for any LightningModule and any optimizer:

    from parity_trace import Trace
    Trainer(callbacks=[ErrorTracker(), Trace("python.trace")]).fit(module, datamodule=data)

docs/trace.md describes the format. This needs torch, pytorch-lightning, xxhash, and parity_names.py in the same folder.
"""

import base64
import dataclasses
import functools
import json
import math

import torch
import xxhash
from parity_names import by_one_name, wrapper
from pytorch_lightning import Callback

FORMAT = 2
SKETCH_LENGTH = 16


class Trace(Callback):
    """Records every training step.

    A step has, in this order: the parts of the state that changed since the previous step; `input` and `target`, the two
    parts of the batch; `logits`, the result of the module's `forward`; `loss`; the gradients as `grad.NAME`, in the order
    of backward; the optimizer's state as `optimizer.STATE.NAME`; parameters and buffers by their names; and the generator
    as `generator.state`, on a GPU also the GPU's as `generator.cuda.state`. NAME is the parameter's name in the module,
    without a wrapper's prefix if every name begins with it, such as `model.` in ISLP's SimpleModule, and without the
    `_orig_mod.` of a compiled submodule.

    Args:
        path: A new file. One Trace can record several fits, one after the other, in the same file.
        steps: The steps, counted from 0, whose tensors are kept, for instance as a range.
    """

    def __init__(self, path, steps=()):
        self.steps = steps
        self.file = open(path, "xb")
        self.fits = 0
        self.signs = torch.zeros(0, dtype=torch.float64)
        self.unwrap, self.hooks, self.is_whole = [], [], False
        self._write({"trace": FORMAT, "written_by": f"parity_trace.py with torch {torch.__version__}"})

    def on_train_start(self, trainer, pl_module):
        self.names = _Names(pl_module)
        self.model = type(self.names.network(pl_module)).__name__
        self.hashes = {}
        self.fit, self.fits = self.fits, self.fits + 1
        # The result of the module's own `forward` comes after those of its submodules and replaces them.
        parts = [child for child in pl_module.children() if any(True for _ in child.parameters())]
        self.hooks = [part.register_forward_hook(self._hook) for part in parts]
        self._wrap(pl_module, "training_step", self._begin, lambda output: None)
        self._wrap(pl_module, "forward", lambda: None, lambda output: self._hook(None, None, output))

    def _wrap(self, pl_module, name, before, after):
        former = pl_module.__dict__.get(name)
        method = getattr(pl_module, name)

        @functools.wraps(method)
        def wrapped(*args, **kwargs):
            before()
            output = method(*args, **kwargs)
            after(output)
            return output

        setattr(pl_module, name, wrapped)

        def unwrap():
            if pl_module.__dict__.get(name) is not wrapped:
                return
            delattr(pl_module, name)
            if former is not None:
                setattr(pl_module, name, former)

        self.unwrap.append(unwrap)

    def _hook(self, module, args, output):
        self.output = output

    def on_train_end(self, trainer, pl_module):
        while self.unwrap:
            self.unwrap.pop()()
        while self.hooks:
            self.hooks.pop().remove()

    def on_exception(self, trainer, pl_module, exception):
        self.on_train_end(trainer, pl_module)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.epoch, self.step, self.is_whole = trainer.current_epoch, trainer.global_step, False
        self.before, self.quantities, self.output = [], [], None
        # The state is read when training_step begins, so that changes by other callbacks are included.
        self.state = lambda: self._state(trainer, pl_module)
        self.batch = batch

    def _begin(self):
        self.before = self._changed(self.state())
        is_pair = isinstance(self.batch, (tuple, list)) and len(self.batch) == 2
        for name, part in zip(["input", "target"], self.batch) if is_pair else [("input", self.batch)]:
            self._record(name, part)

    def on_before_backward(self, trainer, pl_module, loss):
        self._record("logits", self.output)
        self._record("loss", loss)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for name, parameter in reversed(list(self.names.parameters(pl_module))):
            if parameter.grad is not None:
                self._record(f"grad.{name}", parameter.grad)

    def teardown(self, trainer, pl_module, stage):
        # Other callbacks may have changed the state at the end.
        if stage == "fit" and self.is_whole:
            self.is_whole, self.step = False, self.step + 1
            self.before, self.quantities = self._changed(self._state(trainer, pl_module)), []
            self._write_step()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for name, tensor, content in self._state(trainer, pl_module):
            self.quantities.append(self._quantity(name, tensor, content))
            self.hashes[name] = self.quantities[-1]["xxh3"]
        self._write_step()
        self.is_whole = True

    def _changed(self, state):
        """Returns the quantities that changed since the last step."""
        return [self._quantity(name, tensor, content) for name, tensor, content in state
                if self.hashes.get(name) != xxhash.xxh3_64_hexdigest(content)]

    def _state(self, trainer, pl_module):
        """Yields name, tensor and bytes of optimizer states, parameters, buffers and the generator."""
        names = {parameter: name for name, parameter in self.names.parameters(pl_module)}
        for optimizer in trainer.optimizers:
            for key in sorted({key for state in optimizer.state.values() for key in state}):
                for parameter, name in names.items():
                    tensor = optimizer.state.get(parameter, {}).get(key)
                    # The optimizer's step count is redundant: the step has a number.
                    if isinstance(tensor, torch.Tensor) and key != "step":
                        yield f"optimizer.{key}.{name}", tensor, _bytes(tensor)
        for parameter, name in names.items():
            yield name, parameter, _bytes(parameter)
        for name, buffer in self.names.buffers(pl_module):
            yield name, buffer, _bytes(buffer)
        generator = torch.get_rng_state()
        yield "generator.state", generator, _bytes(generator)
        device = next((parameter.device for parameter in names if parameter.is_cuda), None)
        if device is not None:
            generator = torch.cuda.get_rng_state(device)
            yield "generator.cuda.state", generator, _bytes(generator)

    def _record(self, name, value):
        if isinstance(value, torch.Tensor):
            self.quantities.append(self._quantity(name, value, _bytes(value)))
        elif dataclasses.is_dataclass(value):
            self._record(name, vars(value))
        elif isinstance(value, dict):
            for key, part in value.items():
                self._record(f"{name}.{key}", part)
        elif isinstance(value, (tuple, list)):
            for i, part in enumerate(value):
                self._record(f"{name}.{i}", part)

    def _quantity(self, name, tensor, content):
        minimum, maximum, mean = _statistics(tensor.detach())
        quantity = {"name": name, "kind": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape),
                    "xxh3": xxhash.xxh3_64_hexdigest(content),
                    "min": _number(minimum), "max": _number(maximum), "mean": _number(mean)}
        if not tensor.is_complex():
            quantity["sketch"] = self._sketch(tensor)
        if self.step in self.steps:
            quantity["data"] = base64.b64encode(content).decode()
        return quantity

    def _sketch(self, tensor):
        """Sums every 16th value, each multiplied by the sign of its place."""
        if len(self.signs) < tensor.numel():
            self.signs = _signs(tensor.numel())
        flat = _dense(tensor.detach()).cpu().double().reshape(-1)
        padded = torch.nn.functional.pad(flat * self.signs[:len(flat)], (0, -len(flat) % SKETCH_LENGTH))
        return base64.b64encode(_bytes(padded.view(-1, SKETCH_LENGTH).sum(0))).decode()

    def _write_step(self):
        self._write({"fit": self.fit, "model": self.model, "epoch": self.epoch, "step": self.step, "before": self.before,
                     "quantities": self.quantities})

    def _write(self, line):
        # Written immediately, so that a killed process leaves complete lines except perhaps the last.
        self.file.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self.file.flush()


class _Names:
    """The names of a module's parameters and buffers without a wrapper's prefix, compiled or not."""

    def __init__(self, pl_module):
        self.prefix = wrapper(name for name, _ in pl_module.named_parameters())
        # Raises if two names become equal; otherwise the trace would contain only the second one's hash.
        named = [*pl_module.named_parameters(), *pl_module.named_buffers()]
        by_one_name((self._name(name), name, tensor) for name, tensor in named)

    def network(self, pl_module):
        network = pl_module
        for name in self.prefix.split(".")[:-1]:
            network = getattr(network, name)
        return getattr(network, "_orig_mod", network)

    def parameters(self, pl_module):
        return [(self._name(name), parameter) for name, parameter in pl_module.named_parameters()]

    def buffers(self, pl_module):
        return [(self._name(name), buffer) for name, buffer in pl_module.named_buffers()]

    def _name(self, name):
        return name.removeprefix(self.prefix).replace("_orig_mod.", "")


def _dense(tensor):
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def _bytes(tensor):
    tensor = _dense(tensor.detach()).cpu().contiguous()
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _signs(count):
    """Returns the signs of `count` places, 1 or -1, from the last step of MurmurHash3 for 32 bits."""
    places = torch.arange(count)
    for shift, factor in (16, 0x85EBCA6B), (13, 0xC2B2AE35):
        places = ((places ^ places >> shift) * factor) & 0xFFFFFFFF
    return 1 - 2 * ((places ^ places >> 16) >> 31).double()


def _statistics(tensor):
    """Returns minimum, maximum and mean; the mean of integers in f64. NaN if there are no values, or torch cannot tell."""
    try:
        tensor = _dense(tensor)
        minimum, maximum = torch.aminmax(tensor)
        mean = tensor.mean(dtype=None if tensor.is_floating_point() else torch.float64)
        return float(minimum), float(maximum), float(mean)
    except (RuntimeError, NotImplementedError, TypeError):
        return math.nan, math.nan, math.nan


def _number(value):
    # JSON lacks NaN and the infinities.
    return value if math.isfinite(value) else str(value)
