"""Checks islp_mnist.checkpoint with a module of its own: a stopped and resumed fit gives the bytes of an uninterrupted one.

python tests/own_module.py; tests/program/handover.rs runs it.
"""

import hashlib
import logging
import os
import tempfile
import warnings
from pathlib import Path

import torch
import torchmetrics
from islp_mnist.checkpoint import CheckpointError, CSVLogger, ModelCheckpoint, load_last
from pytorch_lightning import Callback, LightningModule, Trainer, loggers, seed_everything
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
for name in "pytorch_lightning", "lightning_fabric":
    logging.getLogger(name).setLevel(logging.ERROR)

X = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, (X.square().sum(1, keepdim=True) < 1).float())


class Own(LightningModule):
    """Has a parameter with two names, a frozen one, and one that does not affect the loss."""

    def __init__(self, make_optimizer=lambda parameters: RMSprop(parameters, lr=0.02, weight_decay=0.01)):
        super().__init__()
        self.make_optimizer = make_optimizer
        self.hidden = nn.Linear(2, 16)
        self.same = self.hidden
        self.dropout = nn.Dropout(0.25)
        self.out = nn.Linear(16, 1)
        self.unused = nn.Linear(3, 1)
        self.out.bias.requires_grad = False
        self.register_buffer("scale", torch.tensor(0.5))

    def loss(self, batch):
        x, y = batch
        logits = self.out(self.dropout(self.same(x).relu())) * self.scale
        return nn.functional.binary_cross_entropy_with_logits(logits, y)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return self.make_optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])


def fit(log_dir, epochs, num_workers=0, module=None, logger=None, monitor="val_loss", every=1, steps=None, more=(),
        resume=True, shuffle=True, data=DATA, **options):
    # The seed matters only the first time.
    checkpoint = load_last(log_dir)
    seed_everything(7 if checkpoint is None else 8)
    module = module or Own()
    loaders = [DataLoader(data, batch_size=10, shuffle=is_train and shuffle, num_workers=num_workers,
                          persistent_workers=num_workers > 0) for is_train in (True, False)]
    checkpoints = ModelCheckpoint({"lr": 0.02}, every, monitor, checkpoint if resume else None, steps)
    trainer = Trainer(max_epochs=epochs, logger=logger or CSVLogger.resume(log_dir, checkpoint), accelerator="cpu",
                      log_every_n_steps=3, enable_progress_bar=False, enable_model_summary=False,
                      callbacks=[*more, checkpoints], **options)
    trainer.fit(module, *loaders)
    return checkpoints


def assert_same(log_dir, other):
    assert (log_dir / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes(), (log_dir, other)
    # Everything except the checksum.
    ours, theirs = load_last(log_dir), load_last(other)
    assert ours.state == theirs.state and ours.hyper_parameters == theirs.hyper_parameters == {"lr": 0.02}
    assert ours.states.keys() == theirs.states.keys()
    for name, (ours_by_name, theirs_by_name) in {
            "weights": (ours.weights, theirs.weights),
            **{kind: (ours.states[kind], theirs.states[kind]) for kind in ours.states}}.items():
        assert ours_by_name.keys() == theirs_by_name.keys()
        for key, tensor in ours_by_name.items():
            assert tensor.equal(theirs_by_name[key]), (name, key)
    assert ours.generator.equal(theirs.generator)


def assert_raises(error, part, log_dir, **more):
    try:
        fit(log_dir, 9, **more)
    except error as raised:
        assert part in str(raised), raised
    else:
        raise AssertionError(f"no error: {part}")


class Normalized(Own):
    """Has batch normalization, whose counter is an integer."""

    def __init__(self, make_optimizer):
        torch.manual_seed(7)
        super().__init__(make_optimizer)
        self.same = nn.Sequential(self.hidden, nn.BatchNorm1d(16))


def scheduled(scheduler, interval="step", **options):
    def make(parameters):
        optimizer = SGD(parameters, 0.05, momentum=0.9)
        return [optimizer], [{"scheduler": scheduler(optimizer, **options), "interval": interval, "monitor": "val_loss"}]

    return make


OPTIMIZERS = {
    "sgd": lambda parameters: SGD(parameters, 0.05),
    "momentum": lambda parameters: SGD(parameters, 0.05, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda parameters: SGD(parameters, 0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda parameters: RMSprop(parameters, 0.01, momentum=0.9, centered=True, weight_decay=0.01),
    "adam": lambda parameters: Adam(parameters, 0.01, weight_decay=0.01),
    "adamw": lambda parameters: AdamW(parameters, 0.01),
    "step_lr": scheduled(StepLR, step_size=5, gamma=0.5),
    "multi_step": scheduled(MultiStepLR, milestones=[5, 9, 20]),
    "plateau": scheduled(ReduceLROnPlateau, interval="epoch", patience=0, threshold=0.5),
    "one_cycle": scheduled(OneCycleLR, max_lr=0.1, total_steps=28),
}


class Stop(Callback):
    """Raises in the middle of an epoch."""

    def __init__(self, error, epoch):
        self.error, self.epoch = error, epoch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == self.epoch and batch_idx == 3:
            raise self.error


class StopAt(Callback):
    """Ends the fit within a step, or after one as a signal does."""

    def __init__(self, step, is_between):
        self.step, self.is_between = step, is_between

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.is_between and trainer.global_step == self.step:
            trainer._signal_connector.received_sigterm = True
        if not self.is_between and trainer.global_step == self.step + 1:
            raise RuntimeError


class Logging(Own):
    """Logs in every hook of an epoch, with every reduction, often or seldom."""

    def on_train_epoch_start(self):
        self.log("start", self.out.weight.norm())

    def on_train_batch_start(self, batch, batch_idx):
        self.log("batch_idx", float(batch_idx), reduce_fx="max", on_step=True, on_epoch=True)

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if batch_idx == 0:
            self.log("first", loss, on_step=False, on_epoch=True)
        self.log(f"of_{batch_idx % 2}", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.log("sum", outputs["loss"], reduce_fx="sum", on_step=False, on_epoch=True)
        self.log("min", outputs["loss"].double(), reduce_fx="min", on_step=False, on_epoch=True)
        for factor in 0.1, 0.7, 1.3:
            self.log("often", outputs["loss"] * factor, on_step=False, on_epoch=True)
        self.log("of_step", outputs["loss"])

    def on_train_epoch_end(self):
        self.log("end", torch.rand(()))

    def configure_callbacks(self):
        return LogsAtStart()


class LogsAtStart(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.log("at_start", batch[0].sum(), on_step=False, on_epoch=True)


class Noisy(TensorDataset):
    """Draws from torch's generator for every item."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.randn(2) / 10, y


class Poisoned(Own):
    """Has a loss that is finite, and gradients that are NaN."""

    def on_after_backward(self):
        if self.global_step == 4:
            self.out.weight.grad.fill_(float("nan"))


class Measured(Own):
    """Logs a torchmetrics object."""

    def __init__(self):
        super().__init__()
        self.mean = torchmetrics.MeanMetric()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.mean.update(loss)
        self.log("mean", self.mean)
        return loss


class Draws(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        torch.rand(5)


def within_epochs(folder: Path):
    """A fit that ends within an epoch loses the steps after its last checkpoint, or none, and no bit."""
    cases = {"plain": {}, "workers": {"num_workers": 2}, "in_order": {"shuffle": False},
             "in_order_workers": {"shuffle": False, "num_workers": 2}, "logging": {"make": Logging},
             "noisy": {"shuffle": False, "data": Noisy(*DATA.tensors)},
             **{name: {"make": lambda name=name: Normalized(OPTIMIZERS[name])} for name in ("adam", "one_cycle", "plateau")}}
    for name, case in cases.items():
        make = case.pop("make", Own)

        def fit_own(log_dir, **more):
            torch.manual_seed(7)
            fit(log_dir, 3, module=make(), **case, **more)

        whole = folder / f"{name}_whole"
        fit_own(whole)
        # An epoch has 7 steps. Of each fit the step in which it ends, and whether it does so between two steps.
        stops = [(1, True), (4, False), (5, True), (7, True), (12, False), (13, True), (16, True)]
        if name.startswith("in_order"):
            stops = stops[1::2]
        for every in (3, 1000) if name == "plain" else (3,):
            parts = folder / f"{name}_{every}"
            for step, is_between in stops:
                try:
                    fit_own(parts, steps=every, more=[StopAt(step, is_between)])
                except (RuntimeError, SIGTERMException):
                    pass
                else:
                    raise AssertionError("not stopped")
                saved = load_last(parts)
                # After an epoch's last step only its end is saved, and a signal comes before it.
                if is_between and step % 7:
                    assert saved.state.global_step == step, saved.state
                elif every == 3:
                    assert saved.state.global_step == step // 3 * 3, saved.state
            # Without the option too, a checkpoint within an epoch is resumed.
            fit_own(parts, steps=None if every == 3 else every)
            assert_same(parts, whole)

    new, within = folder / "new", folder / "within"
    try:
        fit(within, 3, steps=1000, more=[StopAt(4, True)])
    except SIGTERMException:
        pass
    assert_raises(MisconfigurationException, "after 4 batches", within, limit_train_batches=4)
    refused = {"something other than the loader's sampler": {"more": [Draws()]},
               "accumulated gradients": {"accumulate_grad_batches": 2},
               "accumulated": {"more": [GradientAccumulationScheduler({0: 2})]},
               "more than one validation": {"val_check_interval": 0.5},
               "max_steps": {"max_steps": 4},
               "mean is logged as a torchmetrics object": {"module": Measured()}}
    for part, more in refused.items():
        assert_raises(MisconfigurationException, part, new, steps=1000, **more)
    assert load_last(new) is None

    # What nobody could resume from is not saved, and a step's error stays what it is.
    poisoned = folder / "poisoned"
    try:
        fit(poisoned, 3, steps=1, module=Poisoned(), more=[StopAt(5, False)])
    except RuntimeError:
        pass
    assert load_last(poisoned).state.global_step == 4


def main(folder: Path):
    for num_workers in 0, 2:
        whole, parts = folder / f"whole_{num_workers}", folder / f"parts_{num_workers}"
        fit(whole, 6, num_workers)
        # The second 3 leaves nothing to do.
        for epochs in (3, 3, 6) if num_workers == 0 else (2, 6):
            fit(parts, epochs, num_workers)
        assert_same(parts, whole)
        assert set(load_last(whole).weights) == {
            "hidden.weight", "hidden.bias", "out.weight", "out.bias", "unused.weight", "unused.bias", "scale"}
        assert "out.bias" not in load_last(whole).states["square_avg"]

    within_epochs(folder)

    for name, make_optimizer in OPTIMIZERS.items():
        fit(folder / name, 4, module=Normalized(make_optimizer))
        for epochs in 1, 3, 4:
            fit(folder / f"{name}_parts", epochs, module=Normalized(make_optimizer))
        assert_same(folder / f"{name}_parts", folder / name)
    assert load_last(folder / "adam").weights["same.1.num_batches_tracked"] == 28
    assert_raises(CheckpointError, "optimizer.exp_avg", folder / "adam", module=Normalized(OPTIMIZERS["momentum"]))
    for name in "momentum", "multi_step":
        assert_raises(CheckpointError, "schedulers are StepLR", folder / "step_lr", module=Normalized(OPTIMIZERS[name]))
    for name, kind in {"adam": "exp_avg", "momentum": "momentum_buffer"}.items():
        assert_raises(CheckpointError, f"lacks optimizer.{kind}.", folder / "sgd", module=Normalized(OPTIMIZERS[name]))

    # A finished epoch is saved, whatever ends the next one. Ctrl-C reaches fit's caller as SystemExit.
    whole, parts = folder / "whole_0", folder / "stopped"
    for epoch, (error, raised) in enumerate([(RuntimeError("stop"), RuntimeError), (KeyboardInterrupt(), SystemExit)], 2):
        try:
            fit(parts, 6, every=100, more=[Stop(error, epoch)])
        except raised:
            assert load_last(parts).state.epoch == epoch - 1
        else:
            raise AssertionError("not stopped")
    # Even if no epochs are left, the rows of the stopped epoch are removed.
    fit(parts, 3)
    sha256 = hashlib.sha256((parts / "metrics.csv").read_bytes()).hexdigest()
    assert sha256 == load_last(parts).state.metrics_sha256
    fit(parts, 6)
    assert_same(parts, whole)
    # Only the best and the last checkpoint are kept.
    checkpoints = parts / "checkpoints"
    kept = {os.readlink(checkpoints / link) for link in ("best.safetensors", "last.safetensors")}
    assert {path.name for path in checkpoints.iterdir()} == kept | {"best.safetensors", "last.safetensors"}

    def amsgrad(parameters):
        return Adam(parameters, amsgrad=True)

    class Decay:
        def __init__(self):
            self.factor = torch.tensor(0.5)

        def __call__(self, step):
            return 0.5**step

    by_tensor = scheduled(LambdaLR, lr_lambda=Decay())
    new = folder / "new"
    for module, part in (Own(amsgrad), "Adam"), (Own(torch.optim.Rprop), "Rprop"), (
            Own(by_tensor), "LambdaLR"), (
            Own().half(), "float16"):
        assert_raises(MisconfigurationException, part, new, module=module)
    assert_raises(MisconfigurationException, "CSVLogger", new, logger=loggers.CSVLogger(folder, name="plain"))
    assert_raises(MisconfigurationException, "val_loss", folder / "unmonitored", monitor="valid_loss")
    assert_raises(MisconfigurationException, "CSVLogger.resume", parts, logger=CSVLogger(folder, name="unresumed"))
    other = Own()
    other.unused = nn.Linear(4, 1)
    assert_raises(CheckpointError, "unused.weight", parts, module=other)


with tempfile.TemporaryDirectory() as folder:
    main(Path(folder))
