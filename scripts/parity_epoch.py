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


@dataclass(frozen=True)
class ResultMetric:
    """A metric of the steps of an epoch so far: the state of Lightning's _ResultMetric."""

    value: float
    """The sum of the steps' values, each times its batch size; for another reduction than the mean, its result."""
    cumulated_batch_size: Optional[int]
    """The sum of the batch sizes; None for another reduction than the mean."""


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
        if not isinstance(result, dict):
            raise ValueError("no object")
        value, size = result["value"], result.get("cumulated_batch_size")
        if type(value) not in (int, float) or not math.isfinite(value) or not (size is None or is_count(size)):
            raise ValueError("no metric")
        results[key] = ResultMetric(float(value), size)
    return BatchProgress(completed, seed, results)


def check(trainer: Trainer):
    """Raises MisconfigurationException if a checkpoint within an epoch could not contain all that its fit needs."""
    loader = trainer.train_dataloader
    is_loader = isinstance(loader, DataLoader) and type(loader.batch_sampler) is BatchSampler
    sampler = loader.sampler if is_loader else None
    faults = {
        "accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
        "val_check_interval": trainer.val_check_interval != 1.0,
        "a training loader that is no DataLoader with torch's own samplers":
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
        "something other than the training loader drew from torch's generator between the start of the epoch and its first "
        "batch, so a checkpoint within the epoch cannot contain the order of the data")


def progress(trainer: Trainer, sampler_seed: Optional[int], earlier: dict[str, ResultMetric]) -> Optional[BatchProgress]:
    """Returns the progress before the next batch; None if a metric is not finite, which no JSON contains. `earlier` are the
    results of a resumed epoch that Lightning does not have yet."""
    results = dict(earlier)
    for key, metric in trainer.fit_loop.epoch_loop._results.items():
        if not metric.is_tensor:
            raise MisconfigurationException(
                f"{metric.meta.name} is logged as a torchmetrics object: a checkpoint within an epoch contains only numbers; "
                "log its value")
        # A resumed epoch logs those of its start again. Those only of steps are not summed.
        if metric.has_reset or not metric.meta.on_epoch or metric.meta.fx in ("on_train_start", "on_train_epoch_start"):
            continue
        size = int(metric.cumulated_batch_size) if metric.meta.is_mean_reduction else None
        results[key] = ResultMetric(float(metric.value), size)
    if not all(math.isfinite(result.value) for result in results.values()):
        return None
    return BatchProgress(trainer.fit_loop.epoch_loop.batch_progress.current.completed, sampler_seed, results)


def resume(trainer: Trainer, progress: BatchProgress, and_then: Callable[[], None]):
    """Lets the next epoch begin after the batches of `progress`, and calls `and_then` before the first one that follows."""
    loop = trainer.fit_loop.epoch_loop

    def on_run_start(fetcher):
        del loop.on_run_start
        loop.on_run_start(fetcher)
        if progress.completed >= trainer.num_training_batches:
            raise MisconfigurationException(f"the checkpoint is after {progress.completed} batches of an epoch, which now has "
                                            f"{trainer.num_training_batches}")
        sampler = trainer.train_dataloader.sampler
        if progress.sampler_seed is not None:
            sampler.generator = torch.Generator().manual_seed(progress.sampler_seed)
        iter(fetcher)
        for _ in range(progress.completed):
            next(fetcher)
        if progress.sampler_seed is not None:
            # It is in use by now; the next epoch draws a seed again.
            sampler.generator = None
        current = loop.batch_progress.current
        current.ready = current.started = current.processed = current.completed = progress.completed
        and_then()

    # Between an epoch's iter(loader) and its first batch Lightning calls no hook.
    loop.on_run_start = on_run_start


def add_results(trainer: Trainer, results: dict[str, ResultMetric]):
    """Adds earlier results to Lightning's, and removes from `results` those that Lightning has by now: it makes a metric when
    it is first logged. The sums are those of an uninterrupted epoch, because the order of two summands does not matter."""
    for key in results.keys() & trainer.fit_loop.epoch_loop._results.keys():
        metric, earlier = trainer.fit_loop.epoch_loop._results[key], results.pop(key)
        value = torch.tensor(earlier.value, dtype=metric.value.dtype, device=metric.value.device)
        if metric.meta.is_max_reduction or metric.meta.is_min_reduction:
            metric.value = metric.meta.reduce_fx(metric.value, value)
        else:
            metric.value = metric.value + value
        if metric.meta.is_mean_reduction:
            metric.cumulated_batch_size = metric.cumulated_batch_size + earlier.cumulated_batch_size
        # Another callback may have asked for it already.
        metric._computed = None
