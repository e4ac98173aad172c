"""A training in Rust of a user's own objects: read once per fit, trained an epoch at a time."""

from typing import Any, Callable

import torch
from ISLP.torch import SimpleModule
from pytorch_lightning import LightningModule
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from islp_mnist.compiled import _compiled
from islp_mnist.training import data, model, optimizer, rng
from islp_mnist.training.unsupported import Unsupported

# Where the state of torch's generator has the second one of each two normal numbers, which Rust does not draw.
NORMAL = 5016


def check_module(module: LightningModule):
    """Raises Unsupported unless the module is as SimpleModule.classification makes it."""
    if type(module) is not SimpleModule:
        raise Unsupported(f"{type(module).__name__} is not ISLP's SimpleModule")
    _check_methods(module)
    if not module.automatic_optimization:
        raise Unsupported("automatic_optimization is False")
    if torch.is_autocast_enabled("cpu"):
        raise Unsupported("torch.autocast is on")
    loss: Any = module.loss
    if type(loss) is not nn.CrossEntropyLoss:
        raise Unsupported(f"the loss is {type(loss).__name__}, not CrossEntropyLoss")
    if loss.weight is not None or (loss.ignore_index, loss.reduction, loss.label_smoothing) != (-100, "mean", 0.0):
        raise Unsupported("CrossEntropyLoss has other options than its defaults")
    metrics: Any = module.metrics
    accuracy = metrics.get("accuracy") if metrics else None
    is_plain = type(accuracy) is MulticlassAccuracy and (accuracy.average, accuracy.top_k, accuracy.ignore_index,
                                                         accuracy.multidim_average) == ("micro", 1, None, "global")
    if not is_plain or len(metrics) != 1:
        raise Unsupported("the metrics are not the accuracy of SimpleModule.classification alone")
    if not module.on_epoch:
        raise Unsupported("the module logs no epochs")
    pre_process: Any = module.pre_process_y_for_metrics
    if pre_process.__code__.co_code != (lambda y: y).__code__.co_code:
        raise Unsupported("the module changes the labels before it computes its metrics")


def same_bits(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """True if two tensors of one dtype have the same shape and bits, also where they are NaN."""
    return ours.shape == theirs.shape and ours.numpy().tobytes() == theirs.numpy().tobytes()


def _check_methods(user: Any):
    """Raises Unsupported if the object has methods of its own."""
    for name in vars(user):
        if callable(getattr(type(user), name, None)):
            raise Unsupported(f"the {type(user).__name__} has its own {name}")


class Rust:
    """The Rust side of a fit. Its parameters are those of the user's module."""

    def __init__(self, module: SimpleModule, datamodule: Any):
        """Raises Unsupported for what Rust does not train, before anything has changed."""
        check_module(module)
        _check_methods(datamodule)
        self.network, self.optimizer = module.model, module._optimizer
        self.tensors = data.data_module(datamodule)
        inputs, _, indices = self.tensors[0]
        batch = inputs[indices[:datamodule.batch_size]]
        self.called = model.called(self.network, batch)
        layers = model.layers(self.network, self.called)
        self.names = {parameter: name for name, parameter in model.parameters(layers)}
        self.generator = _compiled.Generator(0)
        self._built_for: Any = None
        self.module = self._build()
        self._check_forward(batch)
        classes = module.metrics["accuracy"].num_classes
        size = self.module.forward(batch[:1], False).shape
        if len(size) != 2 or size[1] != classes:
            raise Unsupported(f"the model's output has shape [N, {', '.join(map(str, size[1:]))}], not [N, {classes}]")
        for (_, labels, indices), what in zip(self.tensors, ("the training set", "the validation set")):
            least, greatest = (int(label) for label in labels[indices].aminmax())
            if least < 0 or greatest >= classes:
                raise Unsupported(f"{what} has labels from {least} to {greatest}, not from 0 to {classes - 1}")
        # Lightning draws the seeds of the loaders.
        self.data = data.to_rust(self.tensors, datamodule.batch_size, True, self.generator)
        self.trainer: Any = None
        """Rust's, from the fit's first epoch on."""
        self.metrics: dict[str, float] = {}
        self.rows: list[dict[str, str]] = []
        self._logged = 0

    def _build(self) -> Any:
        """The compiled part's module; a new one if a callback has changed layers or options, or moved parameters.

        Raises Unsupported if Rust does not train what it has become.
        """
        layers, options = model.layers(self.network, self.called), optimizer.options(self.optimizer, self.network)
        wanted = options, [
            [part.data_ptr() if isinstance(part, torch.Tensor) else part for part in layer] for layer in layers]
        if wanted != self._built_for:
            self.module, self._built_for = _compiled.SimpleModule.of(layers, options, self.generator), wanted
        return self.module

    def _check_forward(self, inputs: torch.Tensor):
        """The layers that were read compute what the model computes, with dropout and without."""
        for train in True, False:
            # A training in another thread may draw in between.
            if not any(self._computes_the_same(inputs, train) for _ in range(3)):
                name = type(self.network).__name__
                raise Unsupported(f"{name} computes something other than its layers, one after the other")

    def _computes_the_same(self, inputs: torch.Tensor, train: bool) -> bool:
        with torch.no_grad(), rng.forked():
            self.generator.set_state(torch.get_rng_state())
            ours = self.module.forward(inputs, train)
            try:
                self.network.train(train)
                theirs = self.network(inputs)
            finally:
                self.network.train()
            return same_bits(ours, theirs) and torch.equal(self.generator.get_state(), torch.get_rng_state())

    def start(self, current_epoch: int, global_step: int, train_batches: int, log_every_n_steps: int):
        """Starts a fit at this epoch and step."""
        self.trainer = _compiled.Trainer(
            self.generator, current_epoch=current_epoch, global_step=global_step, train_batches=train_batches,
            log_every_n_steps=log_every_n_steps)

    def fit_epoch(self, sampler_seed: int, on_step: Callable[[int], None]):
        """Trains and validates an epoch whose order is of this seed.

        Parameters, optimizer and torch's generator are then as Lightning leaves them, also after an exception. `rows` has the
        epoch's rows of metrics.csv, `metrics` the last value of each metric.
        """
        module = self._build()
        optimizer.to_rust(self.optimizer, self.names, module)
        with rng.LOCK:
            state = torch.get_rng_state()
        self.generator.set_state(state)
        before = self.trainer.global_step
        try:
            self.metrics = self.trainer.fit_epoch(module, self.data, sampler_seed, on_step)
        finally:
            self.rows = self.trainer.rows(self._logged)
            self._logged += len(self.rows)
            steps = self.trainer.global_step - before
            optimizer.from_rust(self.optimizer, self.names, module, steps)
            with rng.LOCK:
                torch.set_rng_state(torch.cat([self.generator.get_state()[:NORMAL], state[NORMAL:]]))
