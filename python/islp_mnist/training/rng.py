"""torch's generator on the CPU, which all threads share: two trainers in two threads take turns."""

import threading
from contextlib import contextmanager
from typing import Iterator

import torch

LOCK = threading.RLock()


@contextmanager
def forked() -> Iterator[None]:
    """Undoes the draws within it."""
    with LOCK, torch.random.fork_rng(devices=[]):
        yield


def random() -> int:
    """Draws a seed as torch's loaders and samplers do."""
    with LOCK:
        return int(torch.empty((), dtype=torch.int64).random_().item())
