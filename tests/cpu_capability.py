"""Prints which build of its kernels libtorch uses on this processor."""

import torch

print(torch.backends.cpu.get_cpu_capability())
