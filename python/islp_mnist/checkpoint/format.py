"""What a checkpoint's file consists of: the names in it, its checksum, and the errors of reading it."""

import hashlib
import json
from typing import Any

import torch

METADATA = "checkpoint"
OPTIMIZER = "optimizer."
# safetensors' names of the dtypes of weights and buffers.
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL"}
GENERATOR = "generator.state"
CUDA_GENERATOR = "generator.cuda.state"
VARIED = "generator.varied.state"
FOLDER = "checkpoints"
LAST = "last.safetensors"
BEST = "best.safetensors"
# The same limits as in src/.
MAX_CHECKPOINT = 1 << 30
MAX_HEADER = 1 << 20
MAX_METRICS = 64 << 20
# safetensors' name of the dtype, the shape, the bytes.
Entry = tuple[str, list[int], bytes]


class CheckpointError(Exception):
    """A fault of a checkpoint, or of its metrics.csv. The message names the file."""


class VersionError(CheckpointError):
    """A checkpoint written by a version whose checkpoints this version cannot read."""


class MetricsError(CheckpointError):
    """A metrics.csv that is not the one the checkpoint was saved with."""


def digest(entries: dict[str, Entry], progress: str, hyper_parameters: str) -> str:
    """Returns the SHA-256 of the tensors, in the order of their names, and of the other metadata, in hexadecimal."""
    sha256 = hashlib.sha256()
    for name, (dtype, shape, data) in sorted(entries.items()):
        sha256.update(f"{name} {dtype} {list(shape)}".encode())
        sha256.update(data)
    sha256.update(f"[{progress},{hyper_parameters}]".encode())
    return sha256.hexdigest()


def to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
