"""python tests/read_cuda_generator.py CHECKPOINT: reads a checkpoint with the state of CUDA's generator.

Prints the seed and the offset, then the error of resuming on the CPU, then the error for an offset that no generator has.
"""

import struct
import sys
from pathlib import Path

from torch.optim import RMSprop

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import parity_checkpoint
from models import MNISTModel

checkpoint = parity_checkpoint.load_checkpoint(sys.argv[1])
seed, offset = struct.unpack("<QQ", checkpoint.cuda_generator.numpy().tobytes())
print(seed, offset)
model = MNISTModel()
try:
    checkpoint.restore(model, RMSprop(model.parameters()))
except parity_checkpoint.CheckpointError as error:
    print(str(error).removeprefix(f"{sys.argv[1]}: "))
try:
    parity_checkpoint._check_cuda_generator(struct.pack("<QQ", seed, offset + 2))
except parity_checkpoint.CheckpointError as error:
    print(error)
