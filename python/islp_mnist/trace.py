"""Records every step of a training in a file that `islp-mnist compare` reads.

`Trace` is a Lightning callback for any LightningModule and any optimizer:

    from islp_mnist.trace import Trace
    Trainer(callbacks=[ErrorTracker(), Trace("python.trace")]).fit(module, datamodule=data)

It also records a loop without Lightning: see `Trace.fit`.

docs/trace.md describes the format. This needs only torch and xxhash, and Lightning for a Trainer.
"""

import base64
import contextlib
import dataclasses
import functools
import json
import math

import torch
import xxhash

from islp_mnist.machine import machine
from islp_mnist.names import by_one_name, wrapper

try:
    from pytorch_lightning import Callback
    from torchmetrics import Metric
except ImportError:
    Callback, Metric = object, ()  # type: ignore[misc, assignment]

FORMAT = 2
SKETCH_LENGTH = 16


class Trace(Callback):
    """Records every training step.

    A step has, in this order: the parts of the state that changed since the previous step; `input` and `target`, the two
    parts of the batch; the layers' outputs as `forward.LAYER`; `logits`, the result of the module's `forward`; `loss`; the
    gradients as `grad.NAME`, in the order of backward; the optimizer's state as `optimizer.STATE.NAME`; parameters and
    buffers by their names; and the generator as `generator.state`, on a GPU also the GPU's as `generator.cuda.state`.
    NAME and LAYER are names in the module, without a wrapper's prefix if every parameter's name begins with it, such as
    `model.` in ISLP's SimpleModule, and without the `_orig_mod.` of a compiled submodule.

    Args:
        path: A new file. One Trace can record several fits, one after the other, in the same file.
        steps: The steps, counted from 0, whose tensors are kept, for instance as a range.
        skip: Names of quantities to leave out; one `*` stands for any text, as in `forward.*`.
        output_gradients: Whether to record the gradients of the layers' outputs too, as `grad.forward.LAYER`.
    """

    def __init__(self, path, steps=(), skip=(), output_gradients=False):
        self.steps, self.output_gradients = steps, output_gradients
        self.skip = [pattern.partition("*") for pattern in skip]
        self.file = open(path, "xb")
        self.fits = 0
        self.signs = torch.zeros(0, dtype=torch.float64)
        self.unwrap, self.hooks, self.is_in_step, self.is_whole = [], [], False, False
        self._write({"trace": FORMAT, "written_by": f"parity_trace.py with torch {torch.__version__}",
                     "threads": torch.get_num_threads(), "environment": machine()})

    @contextlib.contextmanager
    def fit(self, model, *optimizers):
        """Records a training without Lightning. Its steps are those of `step`:

            with Trace("python.trace").fit(model, optimizer) as trace:
                for epoch in range(2):
                    for x, y in loader:
                        with trace.step(epoch, input=x, target=y):
                            loss = cross_entropy(model(x), y)
                            trace.record("loss", loss)
                            optimizer.zero_grad()
                            loss.backward()
                            optimizer.step()
        """
        self.step_number = 0
        try:
            self._start_fit(model, optimizers)
            self.hooks.append(model.register_forward_hook(self._end_forward))
            self.hooks += [optimizer.register_step_pre_hook(self._record_gradients) for optimizer in optimizers]
            yield self
            if self.is_whole:
                self._end_fit()
        finally:
            self._remove_hooks()

    @contextlib.contextmanager
    def step(self, epoch, **batch):
        """Records a step of `fit`: the batch by its names, what the model computes in it, and the state after it."""
        self._start_step(epoch, self.step_number)
        self._start_forward(batch.items())
        yield
        self._end_step()
        self.step_number += 1

    def record(self, name, value):
        """Records a tensor of the step, or the tensors in a list, tuple, dictionary or dataclass, at any depth."""
        if not self.is_in_step:
            raise RuntimeError(f"{name} is recorded outside a step of the trace")
        if isinstance(value, torch.Tensor):
            if not self._is_skipped(name):
                self.quantities.append(self._quantity(name, value, _bytes(value)))
        else:
            for part, inner in _parts(value):
                self.record(f"{name}.{part}", inner)

    # Lightning's hooks.

    def on_train_start(self, trainer, pl_module):
        self._start_fit(pl_module, trainer.optimizers)
        # The result of the module's own `forward` comes after those of its submodules and replaces them.
        parts = [child for child in pl_module.children() if any(True for _ in child.parameters())]
        self.hooks += [part.register_forward_hook(self._keep_logits) for part in parts]
        self._wrap(pl_module, "training_step", self._begin, lambda output: None)
        self._wrap(pl_module, "forward", lambda: None, lambda output: self._keep_logits(None, None, output))

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

    def _keep_logits(self, module, args, output):
        self.logits = output

    def on_train_end(self, trainer, pl_module):
        self._remove_hooks()

    def on_exception(self, trainer, pl_module, exception):
        self._remove_hooks()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._start_step(trainer.current_epoch, trainer.global_step)
        self.batch = batch

    def _begin(self):
        # The state is read when training_step begins, so that changes by other callbacks are included.
        is_pair = isinstance(self.batch, (tuple, list)) and len(self.batch) == 2
        self._start_forward(zip(["input", "target"], self.batch) if is_pair else [("input", self.batch)])

    def on_before_backward(self, trainer, pl_module, loss):
        self.record("logits", self.logits)
        self.record("loss", loss)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self._record_gradients()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._end_step()

    def teardown(self, trainer, pl_module, stage):
        # Other callbacks may have changed the state at the end.
        if stage == "fit" and self.is_whole:
            self._end_fit()

    # What both kinds of training share.

    def _start_fit(self, module, optimizers):
        self.module, self.optimizers, self.names = module, optimizers, _Names(module)
        self.model = type(self.names.network()).__name__
        self.hashes = {}
        self.fit_number, self.fits = self.fits, self.fits + 1
        self.hooks += [layer.register_forward_hook(functools.partial(self._record_output, name))
                       for name, layer in self.names.layers()]

    def _start_step(self, epoch, step):
        self.epoch, self.number, self.is_whole = epoch, step, False
        self.before, self.quantities, self.logits, self.last = [], [], None, (None, 0)
        # By kind and hash, for this step.
        self.measures = {}

    def _start_forward(self, batch):
        self.before, self.is_in_step = self._changed(), True
        for name, part in batch:
            self.record(name, part)

    def _record_output(self, name, module, args, output):
        """Records a layer's output, unless the layer before returned the same, as in a container of layers."""
        now = output, getattr(output, "_version", 0)
        is_the_same = now[0] is self.last[0] and now[1] == self.last[1]
        # Activation checkpointing runs layers once more in backward.
        if not self.is_in_step or is_the_same or torch._C._current_graph_task_id() != -1:
            return
        self.last = now
        self.record(f"forward.{name}", output)
        if self.output_gradients:
            for part, tensor in _tensors(f"grad.forward.{name}", output):
                if tensor.requires_grad:
                    tensor.register_hook(functools.partial(self._record_in_step, part))

    def _end_forward(self, module, args, output):
        if self.is_in_step:
            self.record("logits", output)

    def _record_in_step(self, name, value):
        # A hook must not end a training that does more than its steps.
        if self.is_in_step:
            self.record(name, value)

    def _record_gradients(self, *_):
        for name, parameter in reversed(self.names.parameters()):
            if parameter.grad is not None:
                self._record_in_step(f"grad.{name}", parameter.grad)

    def _end_step(self):
        self.is_in_step, self.last = False, (None, 0)
        for name, tensor, content in self._state():
            self.quantities.append(self._quantity(name, tensor, content))
            self.hashes[name] = self.quantities[-1]["xxh3"]
        self._write_step()
        self.is_whole = True

    def _end_fit(self):
        self.is_whole, self.number = False, self.number + 1
        self.before, self.quantities = self._changed(), []
        self._write_step()

    def _remove_hooks(self):
        self.is_in_step = False
        while self.unwrap:
            self.unwrap.pop()()
        while self.hooks:
            self.hooks.pop().remove()

    def _changed(self):
        """Returns the quantities that changed since the last step."""
        return [self._quantity(name, tensor, content) for name, tensor, content in self._state()
                if self.hashes.get(name) != xxhash.xxh3_64_hexdigest(content)]

    def _state(self):
        """Yields name, tensor and bytes of optimizer states, parameters, buffers and the generator."""
        for name, tensor in self._state_tensors():
            if not self._is_skipped(name):
                yield name, tensor, _bytes(tensor)

    def _state_tensors(self):
        parameters = self.names.parameters()
        for optimizer in self.optimizers:
            for key in sorted({key for state in optimizer.state.values() for key in state}):
                for name, parameter in parameters:
                    tensor = optimizer.state.get(parameter, {}).get(key)
                    # The optimizer's step count is redundant: the step has a number.
                    if isinstance(tensor, torch.Tensor) and key != "step":
                        yield f"optimizer.{key}.{name}", tensor
        yield from parameters
        yield from self.names.buffers()
        yield "generator.state", torch.get_rng_state()
        device = next((parameter.device for _, parameter in parameters if parameter.is_cuda), None)
        if device is not None:
            yield "generator.cuda.state", torch.cuda.get_rng_state(device)

    def _is_skipped(self, name):
        return any(name == start if not star else
                   name.startswith(start) and name.endswith(end) and len(name) >= len(start) + len(end)
                   for start, star, end in self.skip)

    def _quantity(self, name, tensor, content):
        quantity = {"name": name, "kind": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape),
                    "xxh3": xxhash.xxh3_64_hexdigest(content)}
        # The output of a Flatten has the bytes of its input.
        content_key = quantity["kind"], quantity["xxh3"]
        if content_key not in self.measures:
            self.measures[content_key] = self._measures(tensor)
        quantity.update(self.measures[content_key])
        if self.number in self.steps:
            quantity["data"] = base64.b64encode(content).decode()
        return quantity

    def _measures(self, tensor):
        minimum, maximum, mean = map(_number, _statistics(tensor.detach()))
        measures = {"min": minimum, "max": maximum, "mean": mean}
        return measures if tensor.is_complex() else {**measures, "sketch": self._sketch(tensor)}

    def _sketch(self, tensor):
        """Sums every 16th value, each multiplied by the sign of its place."""
        if len(self.signs) < tensor.numel():
            self.signs = _signs(tensor.numel())
        flat = _dense(tensor.detach()).cpu().double().reshape(-1)
        padded = torch.nn.functional.pad(flat * self.signs[:len(flat)], (0, -len(flat) % SKETCH_LENGTH))
        return base64.b64encode(_bytes(padded.view(-1, SKETCH_LENGTH).sum(0))).decode()

    def _write_step(self):
        self._write({"fit": self.fit_number, "model": self.model, "epoch": self.epoch, "step": self.number,
                     "before": self.before, "quantities": self.quantities})

    def _write(self, line):
        # Written immediately, so that a killed process leaves complete lines except perhaps the last.
        self.file.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self.file.flush()


class _Names:
    """The names of a module's layers, parameters and buffers without a wrapper's prefix, compiled or not."""

    def __init__(self, module):
        self.module = module
        self.prefix = wrapper(name for name, _ in module.named_parameters())
        # Raises if two names become equal; otherwise the trace would contain only the second one's hash.
        named = [*module.named_parameters(), *module.named_buffers()]
        by_one_name((self._name(name), name, tensor) for name, tensor in named)

    def network(self):
        network = self.module
        for name in self.prefix.split(".")[:-1]:
            network = getattr(network, name)
        return getattr(network, "_orig_mod", network)

    def parameters(self):
        return [(self._name(name), parameter) for name, parameter in self.module.named_parameters()]

    def buffers(self):
        return [(self._name(name), buffer) for name, buffer in self.module.named_buffers()]

    def layers(self):
        """Returns the modules below the network by name, without losses and metrics. A compiled module is one layer."""
        layers, seen, start = [], set(), self.prefix.rstrip(".")

        def add(name, module):
            if module in seen or isinstance(module, (torch.nn.modules.loss._Loss, Metric)):
                return
            seen.add(module)
            if name and not f"{start}.".startswith(f"{name}."):
                layers.append((self._name(name), module))
            if not _is_compiled(module):
                for child, inner in module.named_children():
                    path = f"{name}.{child}".lstrip(".")
                    if f"{path}.".startswith(self.prefix) or self.prefix.startswith(f"{path}."):
                        add(path, inner)

        add("", self.module)
        return layers

    def _name(self, name):
        return name.removeprefix(self.prefix).replace("_orig_mod.", "")


def _is_compiled(module):
    """True if hooks on the modules inside would change how the module runs, or not be called."""
    # What torch.compile returns has the module in `_orig_mod`; its class is not asked for, because that imports the compiler.
    return (isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod")
            or module._compiled_call_impl is not None)


def _parts(value):
    """Yields the names and values of the parts of a container; nothing of anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)


def _tensors(name, value):
    """Yields the tensors in a value by their names."""
    if isinstance(value, torch.Tensor):
        yield name, value
    for part, inner in _parts(value):
        yield from _tensors(f"{name}.{part}", inner)


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
