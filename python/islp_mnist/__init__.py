"""The MNIST lab of ISLP on Lightning with the epochs in Rust, and the same bits.

`from islp_mnist import Trainer` replaces pytorch_lightning's. `islp_mnist.beside` trains in Rust beside Lightning and compares
every tensor. `islp_mnist.checkpoint` saves checkpoints that both sides can resume from, `islp_mnist.trace` records every step
of a training; these two do without the compiled part. docs/python.md has more.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from islp_mnist._compiled import MNIST, DataLoader, Generator, SimpleDataModule, SimpleModule
    from islp_mnist.training.beside import Differs, beside
    from islp_mnist.training.trainer import Trainer
    from islp_mnist.training.unsupported import Unsupported

# Equals the version in Cargo.toml; tests/program/handover.rs compares the two.
__version__ = "0.2.0"

_COMPILED = "DataLoader", "Generator", "MNIST", "SimpleDataModule", "SimpleModule"
_TRAINING = {"Differs": "beside", "Trainer": "trainer", "Unsupported": "unsupported", "beside": "beside"}

__all__ = ["MNIST", "DataLoader", "Differs", "Generator", "SimpleDataModule", "SimpleModule", "Trainer", "Unsupported", "beside"]


def __getattr__(name: str) -> Any:
    """Imports the compiled part, and with it torch and Lightning, only when it is used."""
    import importlib

    if name not in _COMPILED and name not in _TRAINING:
        raise AttributeError(f"module 'islp_mnist' has no attribute {name!r}")
    # First, because it says which torch it needs, before Lightning fails with another.
    compiled = importlib.import_module("islp_mnist.compiled")
    if name in _COMPILED:
        return getattr(compiled._compiled, name)
    return getattr(importlib.import_module(f"islp_mnist.training.{_TRAINING[name]}"), name)
