"""Lightning's loops with the steps in Rust. Everything between the epochs is Lightning's own: hooks of callbacks, loggers,
checkpoints, the banner, the counts of epochs and steps.
"""

from typing import TYPE_CHECKING, Any, Literal, Optional

import torch
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loops import _EvaluationLoop, _TrainingEpochLoop
from pytorch_lightning.loops.utilities import _no_grad_context
from pytorch_lightning.trainer.connectors.data_connector import _DataLoaderSource
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import RandomSampler

from islp_mnist.training.rng import random
from islp_mnist.training.rust import Rust

if TYPE_CHECKING:
    from islp_mnist.training.trainer import Trainer


class NotIterated(CombinedLoader):
    """A loader that draws what Lightning's would draw, at the same time, but starts no workers and has no batches."""

    is_started = False
    drawn: Optional[int] = None

    def __iter__(self):
        (loader,) = self.flattened
        if not (loader.persistent_workers and self.is_started):
            # The workers' base seed, also if there are none.
            random()
        self.is_started, self.drawn = True, None
        if loader.num_workers and isinstance(loader.sampler, RandomSampler):
            # The workers start on the first batches now.
            self.sampler_seed()
        return self

    def __next__(self):
        raise StopIteration

    def __len__(self) -> int:
        (loader,), (limit,) = self.flattened, self.limits or [float("inf")]
        return int(min(len(loader), limit))

    def sampler_seed(self) -> int:
        """The seed of the order of the items in this epoch, drawn now if it is not yet."""
        if self.drawn is None:
            self.drawn = random()
        return self.drawn


class _Source(_DataLoaderSource):
    """The user's loaders, which Rust iterates instead of Lightning."""

    def __init__(self, trainer: "Trainer", name: str, mode: Literal["max_size_cycle", "sequential"]):
        super().__init__(None, name)
        self.trainer, self.mode = trainer, mode

    def dataloader(self) -> Any:
        loader = super().dataloader()
        return loader if self.trainer.rust is None else NotIterated(loader, self.mode)


class ValidationLoop(_EvaluationLoop):
    """The loop of a fit whose validation Rust has done with the epoch."""

    trainer: "Trainer"

    def __init__(self, epoch_loop: _TrainingEpochLoop):
        old = epoch_loop.val_loop
        super().__init__(epoch_loop.trainer, old._trainer_fn, old._stage, verbose=False, inference_mode=False)
        self._data_source = _Source(self.trainer, "val_dataloader", "sequential")

    def run(self) -> list:
        return super().run() if self.trainer.rust is None else self._run()

    @_no_grad_context
    def _run(self) -> list:
        self.setup_data()
        if self.skip:
            return []
        self.reset()
        self.on_run_start()
        self.batch_progress.increment_by(int(sum(self.max_batches)), is_last_batch=True)
        self.on_iteration_done()
        self._store_dataloader_outputs()
        return self.on_run_end()


class TrainingEpochLoop(_TrainingEpochLoop):
    """The loop over the steps of an epoch, which Rust takes."""

    trainer: "Trainer"

    def __init__(self, trainer: "Trainer", min_steps: Optional[int], max_steps: int):
        super().__init__(trainer, min_steps, max_steps)
        self.val_loop = ValidationLoop(self)

    def run(self, data_fetcher: Any):
        if self.trainer.rust is None:
            return super().run(data_fetcher)
        self.reset()
        self.on_run_start(data_fetcher)
        if not self.done:
            self._fit_epoch(self.trainer.rust)
            self.on_advance_end(data_fetcher)
            self.on_iteration_done()

    def _fit_epoch(self, rust: Rust):
        trainer, module, first = self.trainer, self.trainer.lightning_module, self._batches_that_stepped
        bars = [callback for callback in trainer.callbacks if isinstance(callback, ProgressBar)]

        def show(step: int):
            for bar in bars:
                bar.on_train_batch_end(trainer, module, None, None, step - 1 - first)

        steps = int(trainer.num_training_batches)
        if rust.trainer is None:
            rust.start(trainer.current_epoch, trainer.global_step, steps, trainer.log_every_n_steps)
        loader = trainer.fit_loop._combined_loader
        assert isinstance(loader, NotIterated)
        try:
            rust.fit_epoch(loader.sampler_seed(), show)
        except BaseException:
            taken = rust.trainer.global_step - trainer.global_step
            self._count(taken, is_last_batch=False)
            self._log_steps(rust.rows)
            self._batches_that_stepped = first + taken
            raise
        self._count(steps, is_last_batch=True)
        self._log_steps(rust.rows)
        self._log_epoch(rust.metrics)
        show(first + steps)
        # Lightning counts the last step itself.
        self._batches_that_stepped = first + steps - 1

    def _count(self, steps: int, is_last_batch: bool):
        self.batch_progress.increment_by(steps, is_last_batch=is_last_batch)
        progress = self.automatic_optimization.optim_progress.optimizer
        for counts in progress.step.total, progress.step.current:
            counts.ready += steps
            counts.completed += steps
        for counts in progress.zero_grad.total, progress.zero_grad.current:
            counts.ready += steps
            counts.started += steps
            counts.completed += steps

    def _log_steps(self, rows: list[dict[str, str]]):
        """Logs what Lightning logs in the steps of an epoch."""
        for row in rows:
            if "train_accuracy_step" in row:
                self._batches_that_stepped = int(row["step"])
                self.trainer._logger_connector.log_metrics(
                    {"train_accuracy_step": torch.tensor(float(row["train_accuracy_step"]))})

    def _log_epoch(self, metrics: dict[str, float]):
        """Leaves the epoch's means for its end, where Lightning logs them."""
        connector = self.trainer._logger_connector
        connector._first_loop_iter = True
        for name, key, on_step in ("train_loss", "train_loss", False), ("train_accuracy", "train_accuracy_epoch", True):
            # A mean over one value.
            self._results.log(
                "training_step", name, torch.tensor(metrics[key]), on_step=on_step, on_epoch=True, batch_size=1)
        self._results["training_step.train_accuracy"]._forward_cache = torch.tensor(metrics["train_accuracy_step"])
        connector.on_batch_end()
        connector._first_loop_iter = False


class Tracked(Callback):
    """ISLP's ErrorTracker during a fit: logs what Rust has computed where the other would compute it."""

    def on_validation_epoch_end(self, trainer: Any, pl_module: LightningModule):
        if not trainer.sanity_checking:
            for name in "valid_loss", "valid_accuracy":
                pl_module.log(name, torch.tensor(trainer.rust.metrics[name]), on_epoch=True)


def install(trainer: "Trainer"):
    """Replaces Lightning's loops of a fit. While `trainer.rust` is None, they do what Lightning's do."""
    old = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = TrainingEpochLoop(trainer, old.min_steps, old.max_steps)
    trainer.fit_loop._data_source = _Source(trainer, "train_dataloader", "max_size_cycle")
