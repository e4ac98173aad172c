"""python tests/cuda_dropout.py OFFSET SCRIPT [ARGUMENT...]: runs a script of the reference on the CPU, with the dropout masks
of a GPU.

This replaces dropout only in Lightning's `fit`, because the module is on the CPU before. The masks are a second
implementation, in NumPy, of PyTorch's and NVIDIA's sources. The final offset of CUDA's generator is written to the file
OFFSET.
"""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytorch_lightning
import torch


def philox(seed, offset, threads):
    """Returns the first numbers that each thread of a kernel draws, [threads, 4]: Philox4x32-10."""
    x, y = (np.full(threads, number, np.uint64) for number in (offset // 4 % 2**32, offset // 4 >> 32))
    z, w = np.arange(threads, dtype=np.uint64), np.zeros(threads, np.uint64)
    low, half = np.uint64(2**32 - 1), np.uint64(32)
    for turn in range(10):
        first, second = (np.uint64((key + turn * step) % 2**32) for key, step in (
            (seed % 2**32, 0x9E3779B9), (seed >> 32, 0xBB67AE85)))
        a, b = x * np.uint64(0xD2511F53), z * np.uint64(0xCD9E8D57)
        x, y, z, w = b >> half ^ y ^ first, b & low, a >> half ^ w ^ second, a & low
    return np.stack([x, y, z, w], axis=1)


class CudaGenerator:
    """Stands in for `torch.cuda.default_generators[0]`."""

    def __init__(self):
        self.offset = 0

    def dropout_mask(self, n, p):
        assert n % 4 == 0 and n <= 65_536, "the draws of larger tensors depend on the GPU"
        numbers = philox(torch.initial_seed() % 2**64, self.offset, n // 4).reshape(-1)
        self.offset += 4
        uniform = numbers.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
        keep = np.float32(1 - p)
        return torch.from_numpy(np.where(uniform < keep, np.float32(1) / keep, np.float32(0)))


generator = CudaGenerator()
fit, dropout = pytorch_lightning.Trainer.fit, torch.nn.functional.dropout
is_fitting = False


def fit_on_cuda(*args, **kwargs):
    global is_fitting
    is_fitting = True
    fit(*args, **kwargs)
    is_fitting = False


def dropout_on_cuda(input, p=0.5, training=True, inplace=False):
    if not training or not is_fitting:
        return dropout(input, p, training, inplace)
    return input * generator.dropout_mask(input.numel(), p).view_as(input)


pytorch_lightning.Trainer.fit, torch.nn.functional.dropout = fit_on_cuda, dropout_on_cuda
offset, script, *sys.argv = [sys.argv[1], sys.argv[2], *sys.argv[2:]]
# The same as if the script ran by itself.
sys.path[0] = str(Path(script).parent)
try:
    runpy.run_path(script, run_name="__main__")
finally:
    Path(offset).write_text(f"{generator.offset}\n")
