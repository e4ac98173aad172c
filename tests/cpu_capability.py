"""Which builds of its kernels libtorch takes on this processor."""

import torch

print(torch.backends.cpu.get_cpu_capability())
