"""The compiled part, which runs on the torch of this environment."""

import torch

# Equals torch's version in scripts/requirements.txt; tests/program/handover.rs compares the two.
TORCH_VERSION = "2.13.0"

if torch.__version__.split("+")[0] != TORCH_VERSION:
    raise ImportError(
        f"islp_mnist is compiled for torch {TORCH_VERSION}, and this environment has torch {torch.__version__}: "
        f"pip install torch=={TORCH_VERSION}")
try:
    from islp_mnist import _compiled
except ModuleNotFoundError as error:
    raise ImportError("this islp_mnist lacks its compiled part: pip install ./python, in the checkout") from error

__all__ = ["TORCH_VERSION", "_compiled"]
