"""The Lightning callback that saves checkpoints and resumes from one."""

import contextlib
import math
import os
import re
from pathlib import Path
from typing import Any, Optional

import torch
from pytorch_lightning import LightningModule, Trainer, callbacks
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException

from islp_mnist.checkpoint import within_epoch
from islp_mnist.checkpoint.csv_logger import CSVLogger
from islp_mnist.checkpoint.files import link, remove_temporaries, write_file
from islp_mnist.checkpoint.format import BEST, FOLDER, LAST, to_json
from islp_mnist.checkpoint.reading import load_checkpoint
from islp_mnist.checkpoint.schedulers import restore_schedulers, scheduler_states
from islp_mnist.checkpoint.state import Checkpoint, TrainerState
from islp_mnist.checkpoint.tensors import named_parameters, named_tensors
from islp_mnist.checkpoint.writing import serialize


def _name_of(state: TrainerState) -> str:
    return f"epoch={state.epoch}-step={state.global_step}.safetensors"


def _leads_to(link: Path) -> tuple[Optional[str], Optional[float]]:
    """Returns the name and validation loss of the checkpoint that `link` points to or is a copy of."""
    if not os.path.lexists(link):
        return None, None
    state = load_checkpoint(link).state
    return os.readlink(link) if link.is_symlink() else _name_of(state), state.valid_loss


class ModelCheckpoint(callbacks.Checkpoint):
    """Saves what a stopped fit needs to resume, and resumes it; the counterpart of islp-mnist's ModelCheckpoint.

    It keeps the latest and the best checkpoint as LOG_DIR/checkpoints/epoch=E-step=S.safetensors, with the links
    last.safetensors and best.safetensors to them, which are copies if the file system has no links. It works with one
    device, one optimizer (RMSprop, SGD, Adam or AdamW) and a CSVLogger of this module.

    It does not save the state of other callbacks, the generators of GPUs other than the module's, nor the generators of a
    loader's workers, which matter only if the data set itself draws random numbers.

    Args:
        hyper_parameters: The options of the run, stored in each checkpoint as JSON.
        every_n_epochs: Epochs between two checkpoints. The best one and the last are always saved.
        monitor: The logged metric that determines the best checkpoint; lower is better.
        resume: The checkpoint to resume from.
        every_n_train_steps: Steps between two checkpoints, besides those at the end of epochs.
    """

    def __init__(self, hyper_parameters: Any = None, every_n_epochs: int = 1, monitor: str = "valid_loss",
                 resume: Optional[Checkpoint] = None, every_n_train_steps: Optional[int] = None):
        self._hyper_parameters = to_json(hyper_parameters)
        self._every_n_epochs = every_n_epochs
        # Lightning takes 0 for none, too.
        self._every_n_train_steps = every_n_train_steps or None
        self._monitor = monitor
        self._resume = resume
        self._folder: Optional[Path] = None
        self._best_valid_loss: Optional[float] = None
        # The names of the checkpoints that LAST and BEST point to or are copies of.
        self._last: Optional[str] = None
        self._best: Optional[str] = None
        self._valid_loss: Optional[float] = None
        # The generator's state before the training loader draws for an epoch, and the seed of the epoch's order.
        self._before_draws: Optional[torch.Tensor] = None
        self._sampler_seed: Optional[int] = None
        # Epochs handled so far; then the newest state and its bytes, if it is not saved.
        self._epochs = 0
        self._pending: Optional[tuple[TrainerState, bytes]] = None

    @property
    def last(self) -> Optional[Path]:
        """The path of the checkpoint saved last, if there is one."""
        return self._kept(self._last, LAST)

    @property
    def best(self) -> Optional[Path]:
        """The path of the checkpoint with the lowest validation loss, if there is one."""
        return self._kept(self._best, BEST)

    def _kept(self, name: Optional[str], copy: str) -> Optional[Path]:
        """Returns the path of a checkpoint, or of its copy if only that exists."""
        paths = [self._folder / name, self._folder / copy] if self._folder and name else []
        return next((path for path in paths if path.exists()), None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str):
        if stage != "fit":
            return
        if not isinstance(trainer.logger, CSVLogger):
            raise MisconfigurationException("ModelCheckpoint needs a Trainer whose logger is this module's CSVLogger")
        self._folder = Path(trainer.logger.log_dir, FOLDER)
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_temporaries(self._folder)
        self._last, _ = _leads_to(self._folder / LAST)
        self._best, self._best_valid_loss = _leads_to(self._folder / BEST)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule):
        # Refuses, before the first step, what a checkpoint cannot contain.
        faults = {
            "more than one device": trainer.world_size > 1,
            "several optimizers or none": len(trainer.optimizers) != 1,
            "manual optimization": not pl_module.automatic_optimization,
            "reload_dataloaders_every_n_epochs": bool(trainer.reload_dataloaders_every_n_epochs),
        }
        for fault, is_so in faults.items():
            if is_so:
                raise MisconfigurationException(f"ModelCheckpoint does not support {fault}")
        named_parameters(named_tensors(pl_module), trainer.optimizers[0])
        scheduler_states(trainer)
        # The sanity check, which follows, leaves the generator as it was; then the loader draws for the first epoch.
        self._before_draws = torch.get_rng_state()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule):
        checkpoint, self._resume = self._resume, None
        progress = checkpoint.state.batch_progress if checkpoint else None
        if self._every_n_train_steps or progress:
            within_epoch.check(trainer)
        if self._every_n_train_steps:
            within_epoch.after_each_step(trainer, lambda: self._step_end(trainer, pl_module))
        if checkpoint is None:
            return
        if trainer.logger.experiment.sha256() != checkpoint.state.metrics_sha256:
            raise MisconfigurationException("make the logger with CSVLogger.resume and the checkpoint to resume from")
        # By now the sanity check has created the validation loader's workers, and the first iter() of the training loader
        # its workers. From here on a resumed fit draws the same numbers as one that was never stopped.
        checkpoint.restore(pl_module, trainer.optimizers[0])
        restore_schedulers(trainer, checkpoint)
        self._epochs = checkpoint.state.epochs_done
        epoch_loop, epoch_progress = trainer.fit_loop.epoch_loop, trainer.fit_loop.epoch_progress
        for tracker in epoch_progress.total, epoch_progress.current:
            tracker.ready = tracker.started = tracker.processed = tracker.completed = self._epochs
        steps = epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        steps.ready = steps.completed = epoch_loop._batches_that_stepped = checkpoint.state.global_step
        trainer.logger.experiment.write()
        if progress:
            self._sampler_seed = progress.sampler_seed
            within_epoch.resume(trainer, progress, lambda: torch.set_rng_state(checkpoint.generator))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule):
        if trainer.sanity_checking:
            return
        if self._monitor not in trainer.callback_metrics:
            logged = ", ".join(trainer.callback_metrics)
            raise MisconfigurationException(f"{self._monitor!r} is not logged in validation, only: {logged}; "
                                            "ModelCheckpoint(monitor=...) names another")
        loss = float(trainer.callback_metrics[self._monitor])
        self._valid_loss = loss if math.isfinite(loss) else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule):
        # Lightning logs an epoch's last row after every on_train_epoch_end, and draws for the next one after this.
        self._epoch_end(trainer, pl_module)
        if trainer.current_epoch > 0:
            self._before_draws = torch.get_rng_state()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int):
        if self._every_n_train_steps and batch_idx == 0:
            # A callback may have changed the accumulation of gradients for this epoch.
            within_epoch.check(trainer)
            assert self._before_draws is not None
            self._sampler_seed = within_epoch.drawn_seed(trainer, self._before_draws)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule):
        self._epoch_end(trainer, pl_module, is_end=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException):
        # If it was raised between an epoch's end and the next one's start, this epoch is not handled yet.
        self._epoch_end(trainer, pl_module)
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        if self._every_n_train_steps and isinstance(exception, SIGTERMException) and 0 < batches < trainer.num_training_batches:
            # Lightning raises it between two steps. Any other exception may have left a step half done.
            with contextlib.suppress(MisconfigurationException, OSError):
                self._save_within_epoch(trainer, pl_module)
        self.save_pending()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str):
        vars(trainer.fit_loop.epoch_loop).pop("on_advance_end", None)

    def _step_end(self, trainer: Trainer, module: LightningModule):
        """Saves a checkpoint within the epoch if one is due. After the epoch's last step, its end does."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        if batches == trainer.num_training_batches:
            return
        if batches == 1:
            # Refuses what can't be saved in the first step, not when the first checkpoint is due.
            within_epoch.progress(trainer, self._sampler_seed)
        if self._is_due(trainer.global_step):
            self._save_within_epoch(trainer, module)

    def _epoch_end(self, trainer: Trainer, module: LightningModule, is_end: bool = False):
        """Handles a finished epoch, and saves a checkpoint if one is due or the epoch is the best or the last."""
        if trainer.current_epoch <= self._epochs:
            return
        self._epochs = trainer.current_epoch
        state = self._make_pending(trainer, module, epoch=self._epochs - 1, valid_loss=self._valid_loss)
        self._valid_loss = None
        is_due = self._epochs % self._every_n_epochs == 0 or self._is_due(state.global_step)
        if is_end or is_due or self._is_best(state):
            self.save_pending()

    def _save_within_epoch(self, trainer: Trainer, module: LightningModule):
        """Saves a checkpoint after a step, unless a metric is not finite or a tensor contains NaN: nobody could resume it."""
        progress = within_epoch.progress(trainer, self._sampler_seed)
        states = trainer.optimizers[0].state.values()
        tensors = [*named_tensors(module).values(),
                   *(tensor for state in states for tensor in state.values() if isinstance(tensor, torch.Tensor))]
        if progress is None or any(tensor.isnan().any() for tensor in tensors):
            return
        self._make_pending(trainer, module, epoch=trainer.current_epoch, valid_loss=None, batch_progress=progress)
        self.save_pending()

    def _is_due(self, global_step: int) -> bool:
        """True if a checkpoint is due after this step of the run."""
        return self._every_n_train_steps is not None and global_step % self._every_n_train_steps == 0

    def _make_pending(self, trainer: Trainer, module: LightningModule, **progress: Any) -> TrainerState:
        """Saves the metrics, and makes the pending checkpoint with this progress."""
        trainer.logger.save()
        state = TrainerState(
            global_step=trainer.global_step,
            metrics_sha256=trainer.logger.experiment.sha256(),
            lr_schedulers=scheduler_states(trainer),
            **progress,
        )
        self._pending = state, serialize(module, trainer.optimizers[0], state, self._hyper_parameters)
        return state

    def _is_best(self, state: TrainerState) -> bool:
        """True if `state` is better than the best so far. As in Lightning, NaN counts as infinite and ties do not count."""
        if state.batch_progress:
            return False
        if self._best_valid_loss is None:
            return state.valid_loss is not None or self.best is None
        return state.valid_loss is not None and state.valid_loss < self._best_valid_loss

    def save_pending(self):
        """Saves the newest checkpoint, unless it is saved, and removes those that are neither last nor best."""
        if self._pending is None:
            return
        (state, data), self._pending = self._pending, None
        name = _name_of(state)
        write_file(self._folder / name, data)
        # LAST changes last: if the run dies in between, it resumes from the previous checkpoint and gives the same bytes.
        if self._is_best(state):
            link(self._folder / BEST, name, data)
            self._best, self._best_valid_loss = name, state.valid_loss
        link(self._folder / LAST, name, data)
        self._last = name
        kept = self._last, self._best
        for path in self._folder.iterdir():
            if re.fullmatch(r"epoch=[0-9]+-step=[0-9]+\.safetensors", path.name) and path.name not in kept:
                path.unlink()
