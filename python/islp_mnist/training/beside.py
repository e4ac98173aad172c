"""A training in Rust beside Lightning's, one step after the other, and every tensor of the two compared."""

import copy
from typing import Any, Iterator, Optional

import torch
from ISLP.torch import ErrorTracker
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning import Trainer as LightningTrainer

from islp_mnist.training import data
from islp_mnist.training.rust import Rust, same_bits
from islp_mnist.training.trainer import Trainer


class Differs(Exception):
    """A tensor of the training in Rust that is not Lightning's. The message names step and tensor."""


class Beside(Callback):
    """Does in Rust what Lightning does, with its own copy of the module, its own batches and its own generator."""

    def __init__(self):
        self.steps = 0
        """Training steps so far."""
        self.tensors = 0
        """Tensors compared so far."""

    def __repr__(self) -> str:
        return f"{self.steps} training steps, {self.tensors} tensors compared, all the same in Rust"

    def on_fit_start(self, trainer: LightningTrainer, pl_module: LightningModule):
        twin, datamodule = copy.deepcopy(pl_module), trainer.datamodule
        self.rust = Rust(twin, datamodule)
        self.twin = dict(twin.model.named_parameters())
        self.generator = self.rust.generator
        self.generator.set_state(torch.get_rng_state())
        loaders = data.to_rust(
            self.rust.tensors, datamodule.batch_size, datamodule.persistent_workers, self.generator)
        self.train, self.validation = loaders.train_dataloader(), loaders.val_dataloader()
        self.batches: Optional[Iterator] = None

    def on_sanity_check_start(self, trainer: LightningTrainer, pl_module: LightningModule):
        # Its draws are undone, but persistent workers stay.
        self.before = self.generator.get_state()

    def on_sanity_check_end(self, trainer: LightningTrainer, pl_module: LightningModule):
        self.generator.set_state(self.before)

    def on_train_epoch_start(self, trainer: LightningTrainer, pl_module: LightningModule):
        self.batches = iter(self.train)

    def on_train_batch_end(self, trainer: LightningTrainer, pl_module: LightningModule, outputs: Any, batch: Any,
                           batch_idx: int):
        assert self.batches is not None
        inputs, labels = next(self.batches)
        where = f"training step {self.steps}, in epoch {trainer.current_epoch}"
        self._compare(where, "the input", inputs, batch[0])
        self._compare(where, "the labels", labels, batch[1])
        loss, _, gradients = self.rust.module.training_step(inputs, labels)
        self._compare(where, "the loss", loss, outputs["loss"])
        theirs = dict(pl_module.model.named_parameters())
        # The backward pass computes the last one first.
        for name in reversed(theirs):
            self._compare(where, f"the gradient of {name}", gradients[name], theirs[name].grad)
        optimizer = trainer.optimizers[0]
        for state, by_name in self.rust.module.optimizer_states().items():
            for name, ours in by_name.items():
                self._compare(where, f"{state} of {name}", ours, optimizer.state[theirs[name]][state])
        for name, parameter in theirs.items():
            self._compare(where, name, self.twin[name], parameter)
        self._compare(where, "the generator's state", self.generator.get_state(), torch.get_rng_state())
        self.steps += 1

    def on_validation_epoch_start(self, trainer: LightningTrainer, pl_module: LightningModule):
        self.validation_batches = iter(self.validation)

    def on_validation_batch_end(self, trainer: LightningTrainer, pl_module: LightningModule, outputs: Any, batch: Any,
                                batch_idx: int, dataloader_idx: int = 0):
        inputs, labels = next(self.validation_batches)
        where = f"validation batch {batch_idx}, after {self.steps} steps"
        self._compare(where, "the input", inputs, batch[0])
        self._compare(where, "the labels", labels, batch[1])
        trackers = [callback for callback in trainer.callbacks if isinstance(callback, ErrorTracker)]
        theirs = trackers[0].val_preds[batch_idx] if trackers else pl_module(batch[0])
        self._compare(where, "the output", self.rust.module.forward(inputs, False), theirs)

    def _compare(self, where: str, what: str, ours: torch.Tensor, theirs: Optional[torch.Tensor]):
        self.tensors += 1
        if theirs is None or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            shape = None if theirs is None else list(theirs.shape)
            raise Differs(f"{where}: {what} has shape {list(ours.shape)} in Rust, {shape} in Lightning")
        ours, theirs = ours.detach(), theirs.detach()
        # -0 equals 0 here, NaN not itself.
        if torch.equal(ours, theirs) or same_bits(ours, theirs):
            return
        differs = ours != theirs
        largest = (ours.double() - theirs.double()).abs().max()
        raise Differs(f"{where}: {what} differs in {int(differs.sum())} of {ours.numel()} elements, by up to {float(largest):.3g}")


def beside(trainer: LightningTrainer) -> Beside:
    """Lets the fits of Lightning's `trainer` train in Rust too, beside it, and compares batches, losses, gradients, the
    optimizer's state, parameters and the generator after each step, and the outputs of the validation. The first tensor that
    differs raises Differs. The callback that it returns counts.

    A fit raises Unsupported for what Rust does not train.
    """
    if isinstance(trainer, Trainer):
        raise TypeError("beside takes pytorch_lightning's Trainer; islp_mnist's has nothing to compare with")
    callback = Beside()
    # Hooks are called in this order: after ErrorTracker's.
    trainer.callbacks.append(callback)
    return callback
