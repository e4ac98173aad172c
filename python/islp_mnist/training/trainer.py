"""Lightning's Trainer with the epochs in Rust."""

import sys
from typing import Any, Optional

from ISLP.torch import ErrorTracker
from lightning_utilities.core.rank_zero import rank_zero_info
from pytorch_lightning import Callback, LightningDataModule, LightningModule
from pytorch_lightning import Trainer as LightningTrainer
from pytorch_lightning.callbacks import (
    BaseFinetuning, GradientAccumulationScheduler, ModelCheckpoint, ModelPruning, ModelSummary, ProgressBar,
    StochasticWeightAveraging)
from pytorch_lightning.strategies import SingleDeviceStrategy

from islp_mnist.training import loops
from islp_mnist.training.rust import Rust
from islp_mnist.training.unsupported import Unsupported

# Hooks within an epoch, where Python is not called. Rust's validation is over before those of its start.
STEP_HOOKS = (
    "on_validation_start", "on_validation_epoch_start",
    "on_train_batch_start", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end",
    "on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad")

CHANGING = BaseFinetuning, GradientAccumulationScheduler, ModelPruning, StochasticWeightAveraging


class Trainer(LightningTrainer):
    """pytorch_lightning.Trainer, an order of magnitude faster: `fit` takes ISLP's SimpleModule around any module of
    Sequential, Flatten, Linear, ReLU and Dropout, and ISLP's SimpleDataModule, and leaves the same bits.

    What Rust does not train raises Unsupported before the first step; with `fallback=True`, Lightning trains it. All other
    methods are Lightning's.
    """

    def __init__(self, *args: Any, fallback: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fallback = fallback
        self.rust: Optional[Rust] = None
        loops.install(self)

    def fit(self, model: LightningModule, train_dataloaders: Any = None, val_dataloaders: Any = None,
            datamodule: Optional[LightningDataModule] = None, ckpt_path: Any = None,
            weights_only: Optional[bool] = None) -> None:
        """Trains as pytorch_lightning.Trainer.fit does.

        Raises Unsupported if Rust does not train this.
        """
        if datamodule is None and isinstance(train_dataloaders, LightningDataModule):
            train_dataloaders, datamodule = None, train_dataloaders
        try:
            if datamodule is None or val_dataloaders is not None:
                raise Unsupported("the data come from loaders, not from ISLP's SimpleDataModule")
            if ckpt_path is not None:
                raise Unsupported(f"fit has ckpt_path={str(ckpt_path)!r}, and Rust does not resume")
            self._check_options()
            self._check_callbacks()
            self.rust = Rust(model, datamodule)
        except Unsupported as reason:
            if not self.fallback:
                raise Unsupported(f"{reason}; Trainer(fallback=True) lets Lightning train it") from reason
            rank_zero_info(f"islp_mnist: Lightning trains this, because {reason}")
        callbacks: list[Callback] = self.callbacks  # type: ignore[has-type]
        if self.rust:
            self.callbacks = [loops.Tracked() if type(callback) is ErrorTracker else callback
                              for callback in callbacks]
        try:
            super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, weights_only)
        finally:
            self.rust, self.callbacks = None, callbacks

    def _check_options(self):
        others = {
            f"accelerator {self.strategy.root_device.type}": self.strategy.root_device.type != "cpu",
            f"{self.num_devices} devices": self.num_devices != 1 or self.num_nodes != 1,
            f"the strategy {type(self.strategy).__name__}": type(self.strategy) is not SingleDeviceStrategy,
            f"precision {self.precision}": self.precision != "32-true",
            f"accumulate_grad_batches={self.accumulate_grad_batches}": self.accumulate_grad_batches != 1,
            f"gradient_clip_val={self.gradient_clip_val}": bool(self.gradient_clip_val),
            f"log_every_n_steps={self.log_every_n_steps}": not 0 <= self.log_every_n_steps <= sys.maxsize,
            f"max_steps={self.max_steps}": self.max_steps != -1,
            f"limit_val_batches={self.limit_val_batches}": self.limit_val_batches != 1.0,
            f"num_sanity_val_steps={self.num_sanity_val_steps}": self.num_sanity_val_steps == 0,
            f"check_val_every_n_epoch={self.check_val_every_n_epoch}": self.check_val_every_n_epoch != 1,
            f"val_check_interval={self.val_check_interval}": self.val_check_interval != 1.0,
            f"overfit_batches={self.overfit_batches}": bool(self.overfit_batches),
            f"reload_dataloaders_every_n_epochs={self.reload_dataloaders_every_n_epochs}":
                bool(self.reload_dataloaders_every_n_epochs),
            f"fast_dev_run={self.fast_dev_run}": bool(self.fast_dev_run),
            "detect_anomaly": self._detect_anomaly,
            "barebones": self.barebones,
        }
        for option, is_so in others.items():
            if is_so:
                raise Unsupported(f"the Trainer has {option}, which Rust does not have")

    def _check_callbacks(self):
        for callback in self.callbacks:
            name = type(callback).__name__
            if type(callback) is ErrorTracker or isinstance(callback, (ProgressBar, ModelSummary)):
                continue
            if type(callback) is ModelCheckpoint:
                if callback._every_n_train_steps or callback._train_time_interval:
                    raise Unsupported("ModelCheckpoint saves within epochs")
                continue
            if isinstance(callback, CHANGING):
                raise Unsupported(f"the callback {name} changes how the module is trained")
            for hook in STEP_HOOKS:
                # LambdaCallback's are the object's own.
                if getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook):
                    raise Unsupported(f"the callback {name} has {hook}, which Rust would not call in time")
