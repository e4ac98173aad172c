"""python tests/read_cuda_generator.py CHECKPOINT: reads a checkpoint with the state of CUDA's generator.

Prints the seed and the offset, then the error of resuming on the CPU, then the error for an offset that no generator has.
"""

import struct
import sys
from pathlib import Path

from islp_mnist.checkpoint import CheckpointError, load_checkpoint
from islp_mnist.checkpoint.reading import _check_cuda_generator
from torch.optim import RMSprop

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from models import MNISTModel

checkpoint = load_checkpoint(sys.argv[1])
seed, offset = struct.unpack("<QQ", checkpoint.cuda_generator.numpy().tobytes())
print(seed, offset)
model = MNISTModel()
try:
    checkpoint.restore(model, RMSprop(model.parameters()))
except CheckpointError as error:
    print(str(error).removeprefix(f"{sys.argv[1]}: "))
try:
    _check_cuda_generator(struct.pack("<QQ", seed, offset + 2))
except CheckpointError as error:
    print(error)
