"""An epoch in progress: what a checkpoint within it contains, and how a fit resumes there.

Lightning resumes within an epoch too, but only a loader that saves its own state then continues with the next batch, and the
epoch's means lack the batches before. This needs a loader that shuffles with torch's global generator, or not at all.
"""

import math
from dataclasses import dataclass
from typing import Any, Callable, Optional

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

# The arguments of Lightning's log(), other than the value, that say what a metric is.
LOG = {"fx": str, "name": str, "prog_bar": bool, "logger": bool, "on_step": bool, "on_epoch": bool, "reduce_fx": str,
       "add_dataloader_idx": bool}


@dataclass(frozen=True)
class ResultMetric:
    """A metric of the steps of an epoch so far: the state of Lightning's _ResultMetric."""

    value: float
    """The sum of the steps' values, each times its batch size; for another reduction than the mean, its result."""
    cumulated_batch_size: Optional[int]
    """The sum of the batch sizes; None for another reduction than the mean."""
    log: dict[str, Any]
    """The arguments with which it is logged, those of LOG."""


@dataclass(frozen=True)
class BatchProgress:
    """The progress within an epoch that is not finished."""

    completed: int
    """Batches of this epoch that the run has trained on."""
    sampler_seed: Optional[int]
    """The seed of the order of the data in this epoch; None if they are not shuffled."""
    results: dict[str, ResultMetric]
    """The epoch's metrics so far, by Lightning's keys."""


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def from_json(fields: Any) -> BatchProgress:
    """Reads the progress from JSON. Raises ValueError or KeyError if it is something else."""
    if not isinstance(fields, dict) or not isinstance(fields["results"], dict):
        raise ValueError("no object")
    completed, seed = fields["completed"], fields.get("sampler_seed")
    if not is_count(completed) or not (seed is None or is_count(seed)):
        raise ValueError("no count")
    results = {}
    for key, result in fields["results"].items():
        if not isinstance(result, dict) or not isinstance(result["log"], dict):
            raise ValueError("no object")
        value, size, log = result["value"], result.get("cumulated_batch_size"), result["log"]
        if type(value) not in (int, float) or not math.isfinite(value) or not (size is None or is_count(size)):
            raise ValueError("no metric")
        if {name: type(argument) for name, argument in log.items()} != LOG:
            raise ValueError("other arguments")
        results[key] = ResultMetric(float(value), size, log)
    return BatchProgress(completed, seed, results)


def check(trainer: Trainer):
    """Raises MisconfigurationException if a checkpoint within an epoch could not contain all that its fit needs."""
    loader = trainer.train_dataloader
    is_loader = isinstance(loader, DataLoader) and type(loader.batch_sampler) is BatchSampler
    sampler = loader.sampler if is_loader else None
    faults = {
        "accumulated gradients": trainer.accumulate_grad_batches != 1,
        "max_steps": trainer.max_steps != -1,
        "more than one validation per epoch": trainer.val_check_batch not in (trainer.num_training_batches, float("inf")),
        "a training loader other than a DataLoader that shuffles with RandomSampler or not at all":
            type(sampler) not in (RandomSampler, SequentialSampler),
        "a sampler with its own generator": getattr(sampler, "generator", None) is not None,
    }
    for fault, is_so in faults.items():
        if is_so:
            raise MisconfigurationException(f"a checkpoint within an epoch does not support {fault}")


def drawn_seed(trainer: Trainer, before: torch.Tensor) -> Optional[int]:
    """Returns the seed that the training loader's sampler drew last; None if it does not shuffle.

    Torch keeps the seed nowhere, so this repeats the draws from the generator's state before them.
    """
    if isinstance(trainer.train_dataloader.sampler, SequentialSampler):
        return None
    generator, now = torch.Generator(), torch.get_rng_state()
    generator.set_state(before)
    # The first draw may be a base seed for the loader's workers.
    for _ in range(2):
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
        if torch.equal(generator.get_state(), now):
            return seed
    raise MisconfigurationException(
        "something other than the loader's sampler, such as the data set or a callback, drew from torch's generator between "
        "the start of the epoch and its first step, so a checkpoint within the epoch cannot contain the order of the data")


def progress(trainer: Trainer, sampler_seed: Optional[int]) -> Optional[BatchProgress]:
    """Returns the progress after a step; None if a metric is not finite, which no JSON contains."""
    results = {}
    for key, metric in trainer.fit_loop.epoch_loop._results.items():
        meta = metric.meta
        if not metric.is_tensor:
            raise MisconfigurationException(
                f"{meta.name} is logged as a torchmetrics object, whose state a checkpoint within an epoch does not contain")
        # Those of single steps are not summed.
        if not metric.has_reset and meta.on_epoch:
            log = {name: getattr(meta, name) for name in LOG} | {"reduce_fx": meta.reduce_fx.__name__}
            size = int(metric.cumulated_batch_size) if meta.is_mean_reduction else None
            results[key] = ResultMetric(float(metric.value), size, log)
    if not all(math.isfinite(result.value) for result in results.values()):
        return None
    return BatchProgress(trainer.fit_loop.epoch_loop.batch_progress.current.completed, sampler_seed, results)


def after_each_step(trainer: Trainer, call: Callable[[], None]):
    """Calls `call` after each training step, once Lightning has logged it and before it fetches the next batch, until the
    attribute is deleted. No hook is called there."""
    loop = trainer.fit_loop.epoch_loop
    on_advance_end = loop.on_advance_end

    def on_advance_end_and_call(fetcher):
        on_advance_end(fetcher)
        call()

    loop.on_advance_end = on_advance_end_and_call  # type: ignore[method-assign]


def resume(trainer: Trainer, saved: BatchProgress, and_then: Callable[[], None]):
    """Lets the next epoch begin after the batches of `saved`, and calls `and_then` before the first one that follows."""
    loop = trainer.fit_loop.epoch_loop

    def on_run_start(fetcher):
        del loop.on_run_start
        loop.on_run_start(fetcher)
        if saved.completed >= trainer.num_training_batches:
            raise MisconfigurationException(
                f"the checkpoint is after {saved.completed} batches of an epoch, which now has only "
                f"{trainer.num_training_batches}; train with the data and the limit of batches that it was saved with")
        sampler = trainer.train_dataloader.sampler
        if saved.sampler_seed is not None:
            sampler.generator = torch.Generator().manual_seed(saved.sampler_seed)
        iter(fetcher)
        for _ in range(saved.completed):
            next(fetcher)
        if saved.sampler_seed is not None:
            # It is in use by now; the next epoch draws a seed again.
            sampler.generator = None
        current = loop.batch_progress.current
        current.ready = current.started = current.processed = current.completed = saved.completed
        _restore_results(trainer, saved.results)
        and_then()

    # Between an epoch's iter(loader) and its first batch Lightning calls no hook.
    loop.on_run_start = on_run_start  # type: ignore[method-assign]


def _restore_results(trainer: Trainer, results: dict[str, ResultMetric]):
    """Restores the epoch's metrics so far, as if the steps before had been logged here."""
    for key, saved in results.items():
        # A sum of f64 that f32 can contain becomes f64 again when the next value is added.
        value = torch.tensor(saved.value)
        if float(value) != saved.value:
            value = value.double().fill_(saved.value)
        value = value.to(trainer.strategy.root_device)
        trainer.fit_loop.epoch_loop._results.log(value=value, batch_size=1, sync_dist_fn=trainer.strategy.reduce, **saved.log)
        metric = trainer.fit_loop.epoch_loop._results[key]
        metric.value, metric._forward_cache = value, None
        if saved.cumulated_batch_size is not None:
            metric.cumulated_batch_size = torch.tensor(saved.cumulated_batch_size, device=value.device)
    # Lightning resets the metrics in an epoch's first step.
    trainer._logger_connector._first_loop_iter = False
