"""Reads a checkpoint that either side wrote, and refuses a damaged one."""

import json
import math
import os
import re
import struct
from pathlib import Path
from typing import Any, Optional

import safetensors
import torch

from islp_mnist import __version__
from islp_mnist.checkpoint import within_epoch
from islp_mnist.checkpoint.files import PathLike, read_file, shown
from islp_mnist.checkpoint.format import (CUDA_GENERATOR, DTYPES, FOLDER, GENERATOR, LAST, MAX_CHECKPOINT, MAX_HEADER,
                                          METADATA, OPTIMIZER, VARIED, CheckpointError, Entry, VersionError, digest)
from islp_mnist.checkpoint.state import Checkpoint, TrainerState
from islp_mnist.names import OneName, by_one_name, unwrapped, wrapper


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Reads a checkpoint that either side wrote, and verifies its checksum.

    Raises CheckpointError if the file is damaged or not a checkpoint.
    """
    path = Path(path)
    try:
        return _parse(path, read_file(path, MAX_CHECKPOINT))
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from error


def load_last(log_dir: PathLike) -> Optional[Checkpoint]:
    """Returns the newest checkpoint of the run in a folder, or None if it has none."""
    path = Path(log_dir, FOLDER, LAST)
    # A dangling link is an error, not the absence of a checkpoint.
    return load_checkpoint(path) if os.path.lexists(path) else None


def _parse(path: Path, data: bytes) -> Checkpoint:
    entries, metadata = _open(data)
    if METADATA not in metadata:
        raise CheckpointError("contains weights, but no checkpoint to resume from")
    state, hyper_parameters = _metadata(metadata[METADATA], entries)
    if GENERATOR not in entries:
        raise CheckpointError(f"lacks {GENERATOR}")
    generator = _bytes_of(GENERATOR, entries)
    _check_generator(generator)
    if VARIED in entries:
        raise CheckpointError(f"{VARIED} belongs to a run with --vary, and PyTorch draws everything from one stream")
    cuda_generator = None
    if CUDA_GENERATOR in entries:
        cuda_bytes = _bytes_of(CUDA_GENERATOR, entries)
        _check_cuda_generator(cuda_bytes)
        cuda_generator = torch.frombuffer(cuda_bytes, dtype=torch.uint8)
    weights: dict[str, torch.Tensor] = {}
    states: dict[str, dict[str, torch.Tensor]] = {}
    kinds = {text: dtype for dtype, text in DTYPES.items()}
    for name, (dtype, shape, values) in entries.items():
        if dtype not in kinds:
            raise CheckpointError(f"{shown(name)} has dtype {dtype}; a checkpoint contains only {', '.join(kinds)}")
        if not values:
            raise CheckpointError(f"{shown(name)} is empty")
        tensor = torch.frombuffer(values, dtype=kinds[dtype]).reshape(shape)
        if tensor.isnan().any():
            raise CheckpointError(f"{shown(name)} contains NaN")
        if name.startswith(OPTIMIZER):
            kind, _, parameter = name.removeprefix(OPTIMIZER).partition(".")
            states.setdefault(kind, {})[parameter] = tensor
        else:
            weights[name] = tensor
    # Removes the prefix after the checksum, which covers the names as written.
    prefix = wrapper(weights)
    for kind, tensors in states.items():
        # Sorted, because the order of a file's tensors varies and an error names the first two that clash.
        names = sorted(tensors)
        try:
            states[kind] = by_one_name((name.removeprefix(prefix), name, tensors[name]) for name in names)
        except OneName as error:
            raise CheckpointError(f"{OPTIMIZER}{kind}.{shown(str(error))}") from error
    weights = unwrapped(weights)
    cpu_generator = torch.frombuffer(generator, dtype=torch.uint8)
    return Checkpoint(path, state, hyper_parameters, weights, states, cpu_generator, cuda_generator)


def _bytes_of(name: str, entries: dict[str, Entry]) -> bytes:
    dtype, _, data = entries.pop(name)
    if dtype != "U8":
        raise CheckpointError(f"{name} has dtype {dtype}, not U8")
    return data


def _open(data: bytes) -> tuple[dict[str, Entry], dict[str, str]]:
    """Returns the tensors and metadata in the bytes of a safetensors file."""
    if data.startswith(b"PK"):
        raise CheckpointError("a pickle, as torch.save and Lightning write it, which can run any program when it is "
                              "loaded; it is not a checkpoint to resume from")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise CheckpointError(f"not a valid safetensors file: its header claims {length} bytes")
    header = data[8:8 + length]
    # safetensors adds offsets without an overflow check; no offset into a file has this many digits.
    if re.search(rb"\d{19}", re.sub(rb'"(?:[^"\\]|\\.)*"', b"", header)):
        raise CheckpointError("not a valid safetensors file: its header names an offset or a size beyond any file")
    try:
        entries = {name: (entry["dtype"], entry["shape"], entry["data"])
                   for name, entry in safetensors.deserialize(data)}
        metadata = json.loads(header).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"not a valid safetensors file: {shown(str(error))}") from error
    return entries, metadata


def _metadata(text: str, entries: dict[str, Entry]) -> tuple[TrainerState, Any]:
    """Returns the progress and the hyper-parameters from a checkpoint's metadata, after verifying the checksum."""
    version = None
    try:
        fields = _raw_fields(text)
        # Version 0.1 did not write its version, and called the hyper-parameters `run`.
        version = str(_json(fields.get("islp_mnist", '"0.1"')))
        hyper_parameters = fields["hyper_parameters"] if "hyper_parameters" in fields else fields["run"]
        progress, sha256 = fields["progress"], _json(fields["sha256"])
        state, parsed = _trainer_state(progress), _json(hyper_parameters)
    except (ValueError, KeyError, OverflowError, RecursionError) as error:
        if version not in (None, "0.1", __version__):
            raise VersionError(f"written by islp-mnist {shown(version)}, whose checkpoints this version does not "
                               "read") from error
        raise CheckpointError("damaged: its metadata are not a checkpoint's") from error
    if digest(entries, progress, hyper_parameters) != sha256:
        raise CheckpointError("damaged: its checksum does not match")
    if state.epoch >= state.global_step:
        raise CheckpointError(f"damaged: epoch {state.epoch} cannot be at step {state.global_step}")
    of_epoch = state.batch_progress.completed if state.batch_progress else 1
    if not 1 <= of_epoch <= state.global_step - state.epoch:
        raise CheckpointError(f"damaged: step {state.global_step} cannot be step {of_epoch} of epoch {state.epoch}")
    return state, parsed


def _json(text: str) -> Any:
    def refuse(constant):
        raise ValueError(constant)

    # JSON has no NaN, but Python's reader accepts it.
    return json.loads(text, parse_constant=refuse)


def _raw_fields(text: str) -> dict[str, str]:
    """Returns the fields of a JSON object, each as its original text, which the checksum covers."""
    if not isinstance(_json(text), dict):
        raise ValueError("no object")
    decoder, space = json.JSONDecoder(), re.compile(r"[ \t\n\r]*")
    fields, at = {}, text.index("{") + 1
    while text[at := space.match(text, at).end()] != "}":
        at = space.match(text, at + 1).end() if text[at] == "," else at
        name, at = decoder.raw_decode(text, at)
        at = space.match(text, text.index(":", at) + 1).end()
        _, end = decoder.raw_decode(text, at)
        if name in fields:
            raise ValueError(f"{name} twice")
        fields[name], at = text[at:end], end
    return fields


def _trainer_state(text: str) -> TrainerState:
    fields = _json(text)
    if not isinstance(fields, dict):
        raise ValueError("no object")
    epoch, global_step, valid_loss, metrics_sha256 = (
        fields["epoch"], fields["global_step"], fields.get("valid_loss"), fields["metrics_sha256"])
    if not all(map(within_epoch.is_count, (epoch, global_step))):
        raise ValueError("no count")
    if type(valid_loss) not in (int, float, type(None)) or not isinstance(metrics_sha256, str):
        raise ValueError("neither a number nor null, or no text")
    if valid_loss is not None:
        # Rust writes the shortest digits of an f32; read as an f64 they are another number.
        valid_loss = torch.tensor(float(valid_loss), dtype=torch.float32).item()
        if not math.isfinite(valid_loss):
            raise ValueError("not finite")
    lr_schedulers = fields.get("lr_schedulers")
    if type(lr_schedulers) not in (list, type(None)):
        raise ValueError("no list")
    batch_progress = fields.get("batch_progress")
    if batch_progress is not None:
        batch_progress = within_epoch.from_json(batch_progress)
    return TrainerState(epoch, global_step, valid_loss, metrics_sha256, lr_schedulers, batch_progress)


def _check_generator(state: bytes):
    """Refuses the states that islp-mnist refuses; torch would truncate words of more than 32 bits."""
    size, words = 5056, 624
    if len(state) != size:
        raise CheckpointError(f"{GENERATOR}: {len(state)} bytes instead of {size}")
    left, seeded, place = struct.unpack_from("<iiQ", state, 8)
    if seeded != 1 or not 1 <= left <= words:
        raise CheckpointError(f"{GENERATOR}: not seeded")
    # A newly seeded generator has no block yet: its place is 0, with one draw left.
    if place != words + 1 - left and (place, left) != (0, 1):
        raise CheckpointError(f"{GENERATOR}: its place in the stream is {place}")
    if max(struct.unpack_from(f"<{words}Q", state, 24)) >= 1 << 32:
        raise CheckpointError(f"{GENERATOR}: a word of more than 32 bits")


def _check_cuda_generator(state: bytes):
    if len(state) != 16:
        raise CheckpointError(f"{CUDA_GENERATOR}: {len(state)} bytes instead of 16")
    _, offset = struct.unpack("<QQ", state)
    if offset % 4 or offset >= 1 << 63:
        raise CheckpointError(f"{CUDA_GENERATOR}: its offset is {offset}")
