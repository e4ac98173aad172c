"""Checkpoints that both Lightning and islp-mnist can resume from, with the same bits.

Lightning's checkpoints lack the state of torch's generator, so a fit resumed from one draws other numbers. These contain it.
They are safetensors files with the weights by name, the optimizer's averages, the generator's state, and the run's progress
as JSON. No part is a pickle. This fit can be stopped and resumed in Python:

    log_dir = "output/mine/version_0"
    checkpoint = load_last(log_dir)                     # None if there is none yet
    trainer = Trainer(logger=CSVLogger.resume(log_dir, checkpoint),
                      callbacks=[ModelCheckpoint({"lr": 0.01}, resume=checkpoint)])
    trainer.fit(module, datamodule=data)                # the same module, data and seed as the first time

It continues as if it had never stopped, whichever side ran the earlier epochs. docs/parity.md has more.

Run as a program, this file converts weights that PyTorch or Lightning saved to a safetensors file for islp-mnist:

    python scripts/parity_checkpoint.py WEIGHTS.pt|RUN.ckpt OUT.safetensors

The inputs are pickles, which can run any code when loaded. PyTorch is told to refuse everything but tensors and plain data
(weights_only=True), but convert only files that you trust.
"""

import argparse
import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import stat
import struct
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterable, Optional, Union

import safetensors
import safetensors.torch
import torch
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import LightningModule, Trainer, callbacks, loggers
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

# In isolated mode Python does not search the script's own folder.
sys.path.insert(0, str(Path(__file__).parent))

import parity_epoch
from parity_epoch import BatchProgress
from parity_names import OneName, by_one_name, unwrapped, wrapper

# Equals the version in Cargo.toml; tests/program/handover.rs compares the two.
VERSION = "0.2.0"

METADATA = "checkpoint"
OPTIMIZER = "optimizer."
# The optimizers whose state a checkpoint can contain, with the options that change what the state is.
OPTIMIZERS = {RMSprop: ["momentum", "centered", "capturable"], SGD: [], Adam: ["amsgrad", "capturable"],
              AdamW: ["amsgrad", "capturable"]}
# safetensors' names of the dtypes of weights and buffers.
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL"}
GENERATOR = "generator.state"
CUDA_GENERATOR = "generator.cuda.state"
VARIED = "generator.varied.state"
FOLDER = "checkpoints"
LAST = "last.safetensors"
BEST = "best.safetensors"
TEMPORARY = ".tmp-"

# The same limits as in src/.
MAX_CHECKPOINT = 1 << 30
MAX_HEADER = 1 << 20
MAX_METRICS = 64 << 20

PathLike = Union[str, os.PathLike]


class CheckpointError(Exception):
    """A fault of a checkpoint, or of its metrics.csv. The message names the file."""


class VersionError(CheckpointError):
    """A checkpoint written by a version whose checkpoints this version cannot read."""


class MetricsError(CheckpointError):
    """A metrics.csv that is not the one the checkpoint was saved with."""


# Files.


def read_file(path: PathLike, limit: int) -> bytes:
    """Returns the bytes of a regular file of at most `limit` bytes. A FIFO would block, a device might never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(path, "rb") as file:
        # read() allocates this size before it reads the first byte.
        data = file.read(min(status.st_size, limit) + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes long", str(path))
    return data


def write_file(path: PathLike, data: bytes):
    """Replaces a file atomically: at any moment a reader finds either all old bytes or all new ones."""

    def make(temporary: Path):
        # The umask decides, as for any other new file.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    _replace(Path(path), make)


def _link(path: Path, target: str, data: bytes):
    """Points the link at `path` to `target`, a file with these bytes in the same folder. If the file system has no links,
    as vfat, SMB, or Google Drive in Colab, writes the bytes to `path` itself."""
    try:
        _replace(path, lambda temporary: os.symlink(target, temporary))
    except OSError:
        # If a file cannot be written either, write_file raises the error.
        write_file(path, data)


def _replace(path: Path, make):
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(6)}"
    try:
        try:
            make(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        # The error names `path`, not the temporary file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _sync_folder(path: Path):
    try:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # CIFS, vboxsf and 9p cannot synchronize folders, and the file is complete anyway. These errors report lost data.
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise


def remove_temporaries(folder: Path):
    """Removes the temporary files of a killed process. No other process may be writing there."""
    for path in folder.iterdir():
        if path.name.startswith(TEMPORARY):
            path.unlink()


def shown(text: str) -> str:
    """Returns a text that is safe for a terminal: control characters from a file are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# Reading checkpoints.


@dataclass(frozen=True)
class TrainerState:
    """The progress of a run after an epoch, or within one."""

    epoch: int
    """The epoch just finished, or not yet if there is a `batch_progress`; from 0."""
    global_step: int
    """Training steps taken so far."""
    valid_loss: Optional[float]
    """Validation loss after that epoch; None if it was not finite or missing, or the epoch is not finished."""
    metrics_sha256: str
    """SHA-256 of metrics.csv at that time, in hexadecimal."""
    lr_schedulers: Optional[list[Any]] = None
    """The state of each learning-rate scheduler with its optimizer's options; None without one."""
    batch_progress: Optional[BatchProgress] = None
    """The progress within the epoch; None if it is finished."""

    @property
    def epochs_done(self) -> int:
        """Epochs finished so far."""
        return self.epoch if self.batch_progress else self.epoch + 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from disk."""

    path: Path
    state: TrainerState
    hyper_parameters: Any
    """The run's options, from JSON."""
    weights: dict[str, torch.Tensor]
    """Parameters and buffers."""
    states: dict[str, dict[str, torch.Tensor]]
    """The optimizer's states of the parameters, by their names in PyTorch, such as `square_avg`."""
    generator: torch.Tensor
    """The argument for torch.set_rng_state."""
    cuda_generator: Optional[torch.Tensor] = None
    """The argument for torch.cuda.set_rng_state; None if dropout did not draw from CUDA's generator."""

    def restore(self, module: torch.nn.Module, optimizer: Optimizer):
        """Restores a network or a LightningModule, its optimizer and torch's global generator, on a GPU also the GPU's.

        Raises CheckpointError for a checkpoint of another model, and then changes nothing.
        """
        tensors, model = named_tensors(module), type(module).__name__
        trained, kinds = named_parameters(tensors, optimizer), state_names(optimizer)
        try:
            for name, tensor in self.weights.items():
                if name not in tensors:
                    raise CheckpointError(f"{shown(name)} is not a parameter of {model}")
                if tensor.shape != tensors[name].shape:
                    sizes = list(tensor.shape), list(tensors[name].shape)
                    raise CheckpointError(f"{name} has shape {sizes[0]}, but {sizes[1]} in {model}")
                if tensor.dtype != tensors[name].dtype:
                    raise CheckpointError(f"{name} is of {tensor.dtype}, but {tensors[name].dtype} in {model}")
            for name in tensors:
                if name not in self.weights:
                    raise CheckpointError(f"lacks {name} of {model}")
            for kind, states in self.states.items():
                for name, tensor in states.items():
                    if name not in trained:
                        raise CheckpointError(f"{OPTIMIZER}{shown(kind)}.{shown(name)} belongs to no parameter")
                    if kind not in kinds:
                        raise CheckpointError(f"{OPTIMIZER}{shown(kind)}.{shown(name)} belongs to another optimizer")
                    if tensor.shape != trained[name].shape:
                        sizes = list(tensor.shape), list(trained[name].shape)
                        raise CheckpointError(f"{OPTIMIZER}{kind}.{name} has shape {sizes[0]}, not {sizes[1]}")
                    if tensor.dtype != trained[name].dtype:
                        raise CheckpointError(f"{OPTIMIZER}{kind}.{name} is of {tensor.dtype}, not {trained[name].dtype}")
            # Adam and SGD keep no state of a parameter that never had a gradient.
            stateless = set() if isinstance(optimizer, RMSprop) else set(trained).difference(*self.states.values())
            if kinds and trained and not any(kind in self.states for kind in kinds):
                raise CheckpointError(f"lacks {OPTIMIZER}{kinds[0]}.{next(iter(trained))}")
            for kind in kinds:
                for name in trained.keys() - stateless:
                    if name not in self.states.get(kind, {}):
                        raise CheckpointError(f"lacks {OPTIMIZER}{kind}.{name}")
            device = next(iter(tensors.values())).device
            if device.type == "cuda" and self.cuda_generator is None:
                raise CheckpointError(f"lacks {CUDA_GENERATOR}")
            if device.type != "cuda" and self.cuda_generator is not None:
                raise CheckpointError(f"{CUDA_GENERATOR} belongs to a run whose dropout draws from CUDA's generator")
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(self.weights[name])
        for name, parameter in trained.items():
            if name in stateless:
                continue
            optimizer.state[parameter] = state = {}
            if not isinstance(optimizer, SGD):
                state["step"] = torch.tensor(float(self.state.global_step))
            for kind in kinds:
                state[kind] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state[kind].copy_(self.states[kind][name])
        torch.set_rng_state(self.generator)
        if self.cuda_generator is not None:
            torch.cuda.set_rng_state(self.cuda_generator, device)


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
        cuda_generator = _bytes_of(CUDA_GENERATOR, entries)
        _check_cuda_generator(cuda_generator)
        cuda_generator = torch.frombuffer(cuda_generator, dtype=torch.uint8)
    weights, states = {}, {}
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
    generator = torch.frombuffer(generator, dtype=torch.uint8)
    return Checkpoint(path, state, hyper_parameters, weights, states, generator, cuda_generator)


def _bytes_of(name: str, entries: "dict[str, _Entry]") -> bytes:
    dtype, _, data = entries.pop(name)
    if dtype != "U8":
        raise CheckpointError(f"{name} has dtype {dtype}, not U8")
    return data


# safetensors' name of the dtype, the shape, the bytes.
_Entry = tuple[str, list[int], bytes]


def _open(data: bytes) -> tuple[dict[str, _Entry], dict[str, str]]:
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


def _metadata(text: str, entries: dict[str, _Entry]) -> tuple[TrainerState, Any]:
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
        if version not in (None, "0.1", VERSION):
            raise VersionError(f"written by islp-mnist {shown(version)}, whose checkpoints this version does not "
                               "read") from error
        raise CheckpointError("damaged: its metadata are not a checkpoint's") from error
    if _digest(entries, progress, hyper_parameters) != sha256:
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
    if not all(map(parity_epoch.is_count, (epoch, global_step))):
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
        batch_progress = parity_epoch.from_json(batch_progress)
    return TrainerState(epoch, global_step, valid_loss, metrics_sha256, lr_schedulers, batch_progress)


def _digest(entries: dict[str, _Entry], progress: str, hyper_parameters: str) -> str:
    """Returns the SHA-256 of the tensors, in the order of their names, and of the other metadata, in hexadecimal."""
    sha256 = hashlib.sha256()
    for name, (dtype, shape, data) in sorted(entries.items()):
        sha256.update(f"{name} {dtype} {list(shape)}".encode())
        sha256.update(data)
    sha256.update(f"[{progress},{hyper_parameters}]".encode())
    return sha256.hexdigest()


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


# Writing checkpoints.


def named_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns the network's tensors by their names in state_dict(), each once, under its first name.

    Removes a wrapper's prefix, such as the `model.` of ISLP's SimpleModule, if all names begin with it.
    """
    tensors, seen = {}, set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in DTYPES:
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            kinds = ", ".join(str(dtype) for dtype in DTYPES)
            raise MisconfigurationException(
                f"{name} of {type(module).__name__} is of {kind}: a checkpoint contains only {kinds}")
        if tensor not in seen:
            seen.add(tensor)
            tensors[name] = tensor
    return unwrapped(tensors)


def state_names(optimizer: Optimizer) -> list[str]:
    """Returns the names of the states that the optimizer keeps of each parameter, without its count of steps."""
    if isinstance(optimizer, RMSprop):
        return ["square_avg"]
    if isinstance(optimizer, SGD):
        return ["momentum_buffer"] if any(group["momentum"] for group in optimizer.param_groups) else []
    return ["exp_avg", "exp_avg_sq"]


def named_parameters(tensors: dict[str, torch.Tensor], optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Returns the parameters that the optimizer updates, by their names in `tensors`."""
    options = OPTIMIZERS.get(type(optimizer))
    if options is None or any(group[option] for group in optimizer.param_groups for option in options):
        known = ", ".join(optimizer.__name__ for optimizer in OPTIMIZERS)
        raise MisconfigurationException(
            f"the optimizer is {type(optimizer).__name__}: a checkpoint contains only the state of {known}, of RMSprop "
            "without momentum and centered, of Adam and AdamW without amsgrad, and none is capturable")
    names = {tensor: name for name, tensor in tensors.items()}
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not all(parameter in names for parameter in moved):
        raise MisconfigurationException("the optimizer has parameters that are not the module's")
    return {names[parameter]: parameter for parameter in moved}


def _serialize(module: torch.nn.Module, optimizer: Optimizer, state: TrainerState, hyper_parameters: str) -> bytes:
    named = named_tensors(module)
    tensors = dict(named)
    for name, parameter in named_parameters(named, optimizer).items():
        # A parameter that never had a gradient has no state yet. RMSprop's is 0 until then.
        of_parameter = optimizer.state.get(parameter, {})
        if not of_parameter and not isinstance(optimizer, RMSprop):
            continue
        steps = of_parameter.get("step")
        if steps is not None and not isinstance(optimizer, RMSprop) and steps != state.global_step:
            raise MisconfigurationException(
                f"{name} had {int(steps)} steps of {state.global_step}: a checkpoint contains only one count for all")
        for kind in state_names(optimizer):
            tensor = of_parameter.get(kind)
            tensors[f"{OPTIMIZER}{kind}.{name}"] = torch.zeros_like(parameter) if tensor is None else tensor
    tensors[GENERATOR] = torch.get_rng_state()
    device = next(iter(named.values())).device
    if device.type == "cuda":
        tensors[CUDA_GENERATOR] = torch.cuda.get_rng_state(device)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    dtypes = DTYPES | {torch.uint8: "U8"}
    entries = {name: (dtypes[tensor.dtype], list(tensor.shape), tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    progress = _to_json({name: value for name, value in asdict(state).items()
                         if name not in ("lr_schedulers", "batch_progress") or value is not None})
    metadata = ",".join([
        f'{{"islp_mnist":"{VERSION}"',
        f'"progress":{progress}',
        f'"hyper_parameters":{hyper_parameters}',
        f'"sha256":"{_digest(entries, progress, hyper_parameters)}"}}',
    ])
    return safetensors.torch.save(tensors, {METADATA: metadata})


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


# Classes for Lightning.


class _ExperimentWriter(ExperimentWriter):
    """Lightning's ExperimentWriter with the same bytes, except that it replaces metrics.csv atomically.

    Lightning's own removes an existing metrics.csv, appends to it, and rewrites it in place for a new column.
    """

    def __init__(self, log_dir: str, rows: Iterable[dict[str, Any]] = ()):
        super().__init__(log_dir)
        self.rows = list(rows)
        self.metrics_keys = sorted(set().union(*self.rows))

    def _check_log_dir_exists(self):
        pass

    def save(self):
        if self.metrics:
            self._record_new_keys()
            self.rows += self.metrics
            self.metrics = []
            self.write()

    def write(self):
        """Writes the metrics so far to disk."""
        write_file(self.metrics_file_path, self.to_csv())

    def to_csv(self) -> bytes:
        if not self.rows:
            # As islp-mnist writes a header without columns.
            return b'""\r\n'
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=self.metrics_keys)
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue().encode()

    def sha256(self) -> str:
        return hashlib.sha256(self.to_csv()).hexdigest()


class CSVLogger(loggers.CSVLogger):
    """Lightning's CSVLogger, except that it continues an existing metrics.csv and replaces it atomically."""

    @classmethod
    def resume(cls, log_dir: PathLike, checkpoint: Optional[Checkpoint]) -> "CSVLogger":
        """Continues the metrics of the run in `log_dir`, or starts new ones there if `checkpoint` is None.

        Once the fit begins, the rows of metrics.csv that were logged later are dropped. Raises CheckpointError
        if metrics.csv is not the one that the checkpoint was saved with.
        """
        log_dir = Path(log_dir)
        logger = cls(log_dir.parent, name="", version=log_dir.name)
        logger._experiment = _ExperimentWriter(str(log_dir))
        if not checkpoint or logger._experiment.sha256() == checkpoint.state.metrics_sha256:
            # Before the first row there may be no file.
            return logger
        path = log_dir / ExperimentWriter.NAME_METRICS_FILE
        logger._experiment = _ExperimentWriter(str(log_dir), _rows(path, checkpoint.state))
        if logger._experiment.sha256() != checkpoint.state.metrics_sha256:
            raise MetricsError(f"{path}: changed since the checkpoint after step {checkpoint.state.global_step}")
        return logger

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """The writer with the metrics so far."""
        if self._experiment is None:
            self._experiment = _ExperimentWriter(self.log_dir)
        return self._experiment


def _rows(path: Path, state: TrainerState) -> list[dict[str, str]]:
    """Returns the rows of a metrics.csv up to that state, without empty cells."""
    rows = []
    try:
        for row in csv.DictReader(io.StringIO(read_file(path, MAX_METRICS).decode(), newline=""), strict=True):
            if None in row or None in row.values():
                raise ValueError("a row has another length")
            row = {name: value for name, value in row.items() if value}
            epoch, step = (int(row[name]) if re.fullmatch(r"[0-9]{1,19}", row.get(name, "")) else math.inf
                           for name in ("epoch", "step"))
            if epoch < state.epochs_done or epoch == state.epoch and step < state.global_step:
                rows.append(row)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except (csv.Error, ValueError) as error:
        raise MetricsError(f"{path}: not a metrics.csv: {shown(str(error))}") from error
    return rows


def _name_of(state: TrainerState) -> str:
    return f"epoch={state.epoch}-step={state.global_step}.safetensors"


def _leads_to(link: Path) -> tuple[Optional[str], Optional[float]]:
    """Returns the name and validation loss of the checkpoint that `link` points to or is a copy of."""
    if not os.path.lexists(link):
        return None, None
    state = load_checkpoint(link).state
    return os.readlink(link) if link.is_symlink() else _name_of(state), state.valid_loss


def _schedulers(trainer: Trainer) -> Optional[list[Any]]:
    """Returns what TrainerState.lr_schedulers contains."""
    # Some change more of the optimizer's options than the learning rate.
    states = [{"class": type(config.scheduler).__name__, "scheduler": _encoded(config.scheduler.state_dict()),
               "param_groups": [{name: value for name, value in group.items() if name != "params"}
                                for group in config.scheduler.optimizer.param_groups]}
              for config in trainer.lr_scheduler_configs]
    for config, state in zip(trainer.lr_scheduler_configs, states):
        try:
            is_kept = _decoded(json.loads(_to_json(state))["scheduler"]) == _lists(config.scheduler.state_dict())
        except (TypeError, ValueError):
            is_kept = False
        if not is_kept:
            raise MisconfigurationException(
                f"the state of {state['class']} is more than numbers and texts, which is all that a checkpoint contains")
    return states or None


def _lists(value: Any) -> Any:
    """Replaces tuples, which JSON lacks, by lists."""
    if isinstance(value, dict):
        return {name: _lists(part) for name, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, (list, tuple)) else value


def _encoded(value: Any) -> Any:
    """Replaces what JSON lacks in a scheduler's state: infinities, and the numbers by which MultiStepLR counts."""
    if isinstance(value, dict):
        if all(isinstance(name, str) for name in value):
            return {name: _encoded(part) for name, part in value.items()}
        return {"pairs": [[_encoded(name), _encoded(part)] for name, part in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_encoded(part) for part in value]
    return str(value) if value in (math.inf, -math.inf) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"pairs"}:
            return Counter({_decoded(name): _decoded(part) for name, part in value["pairs"]})
        return {name: _decoded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return float(value) if value in ("inf", "-inf") else value


def _restore_schedulers(trainer: Trainer, checkpoint: Checkpoint):
    states, configs = checkpoint.state.lr_schedulers or [], trainer.lr_scheduler_configs
    theirs, ours = [state["class"] for state in states], [type(config.scheduler).__name__ for config in configs]
    if theirs != ours:
        theirs, ours = ", ".join(theirs) or "none", ", ".join(ours) or "none"
        raise CheckpointError(f"{checkpoint.path}: its learning-rate schedulers are {shown(theirs)}, but the module's {ours}")
    for config, state in zip(configs, states):
        config.scheduler.load_state_dict(_decoded(state["scheduler"]))
        for group, saved in zip(config.scheduler.optimizer.param_groups, state["param_groups"]):
            # JSON has no tuples, which Adam's betas are.
            group.update((name, tuple(value) if isinstance(value, list) else value) for name, value in saved.items())


class ModelCheckpoint(callbacks.Checkpoint):
    """Saves what a stopped fit needs to resume, and resumes it; the counterpart of islp-mnist's ModelCheckpoint.

    It keeps the latest and the best checkpoint as LOG_DIR/checkpoints/epoch=E-step=S.safetensors, with the links
    last.safetensors and best.safetensors to them, which are copies if the file system has no links. It works with one
    device, one optimizer (RMSprop without momentum, SGD, Adam or AdamW) and a CSVLogger of this module.

    It does not save the state of other callbacks, the generators of GPUs other than the module's, nor the generators of a
    loader's workers, which matter only if the data set itself draws random numbers.

    Args:
        hyper_parameters: The options of the run, stored in each checkpoint as JSON.
        every_n_epochs: Epochs between two checkpoints. The best one and the last are always saved.
        monitor: The logged metric that determines the best checkpoint; lower is better.
        resume: The checkpoint to resume from.
        every_n_train_steps: Steps between two checkpoints, besides those at the end of epochs.
    """

    def __init__(self, hyper_parameters: Any = None, every_n_epochs: int = 1, monitor: str = "valid_loss",
                 resume: Optional[Checkpoint] = None, every_n_train_steps: Optional[int] = None):
        self._hyper_parameters = _to_json(hyper_parameters)
        self._every_n_epochs = every_n_epochs
        # Lightning takes 0 for none, too.
        self._every_n_train_steps = every_n_train_steps or None
        self._monitor = monitor
        self._resume = resume
        self._folder: Optional[Path] = None
        self._best_valid_loss: Optional[float] = None
        # The names of the checkpoints that LAST and BEST point to or are copies of.
        self._last: Optional[str] = None
        self._best: Optional[str] = None
        self._valid_loss: Optional[float] = None
        # The generator's state before the training loader draws for an epoch, and the seed of the epoch's order.
        self._before_draws: Optional[torch.Tensor] = None
        self._sampler_seed: Optional[int] = None
        # Epochs handled so far; then the newest state and its bytes, if it is not saved.
        self._epochs = 0
        self._pending: Optional[tuple[TrainerState, bytes]] = None

    @property
    def last(self) -> Optional[Path]:
        """The path of the checkpoint saved last, if there is one."""
        return self._kept(self._last, LAST)

    @property
    def best(self) -> Optional[Path]:
        """The path of the checkpoint with the lowest validation loss, if there is one."""
        return self._kept(self._best, BEST)

    def _kept(self, name: Optional[str], copy: str) -> Optional[Path]:
        """Returns the path of a checkpoint, or of its copy if only that exists."""
        paths = [self._folder / name, self._folder / copy] if self._folder and name else []
        return next((path for path in paths if path.exists()), None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str):
        if stage != "fit":
            return
        if not isinstance(trainer.logger, CSVLogger):
            raise MisconfigurationException("ModelCheckpoint needs a Trainer whose logger is this module's CSVLogger")
        self._folder = Path(trainer.logger.log_dir, FOLDER)
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_temporaries(self._folder)
        self._last, _ = _leads_to(self._folder / LAST)
        self._best, self._best_valid_loss = _leads_to(self._folder / BEST)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule):
        # Refuses, before the first step, what a checkpoint cannot contain.
        faults = {
            "more than one device": trainer.world_size > 1,
            "several optimizers or none": len(trainer.optimizers) != 1,
            "manual optimization": not pl_module.automatic_optimization,
            "reload_dataloaders_every_n_epochs": bool(trainer.reload_dataloaders_every_n_epochs),
        }
        for fault, is_so in faults.items():
            if is_so:
                raise MisconfigurationException(f"ModelCheckpoint does not support {fault}")
        named_parameters(named_tensors(pl_module), trainer.optimizers[0])
        _schedulers(trainer)
        # The sanity check, which follows, leaves the generator as it was; then the loader draws for the first epoch.
        self._before_draws = torch.get_rng_state()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule):
        checkpoint, self._resume = self._resume, None
        progress = checkpoint.state.batch_progress if checkpoint else None
        if self._every_n_train_steps or progress:
            parity_epoch.check(trainer)
        if self._every_n_train_steps:
            parity_epoch.after_each_step(trainer, lambda: self._step_end(trainer, pl_module))
        if checkpoint is None:
            return
        if trainer.logger.experiment.sha256() != checkpoint.state.metrics_sha256:
            raise MisconfigurationException("make the logger with CSVLogger.resume and the checkpoint to resume from")
        # By now the sanity check has created the validation loader's workers, and the first iter() of the training loader
        # its workers. From here on a resumed fit draws the same numbers as one that was never stopped.
        checkpoint.restore(pl_module, trainer.optimizers[0])
        _restore_schedulers(trainer, checkpoint)
        self._epochs = checkpoint.state.epochs_done
        epoch_loop, epoch_progress = trainer.fit_loop.epoch_loop, trainer.fit_loop.epoch_progress
        for tracker in epoch_progress.total, epoch_progress.current:
            tracker.ready = tracker.started = tracker.processed = tracker.completed = self._epochs
        steps = epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        steps.ready = steps.completed = epoch_loop._batches_that_stepped = checkpoint.state.global_step
        trainer.logger.experiment.write()
        if progress:
            self._sampler_seed = progress.sampler_seed
            parity_epoch.resume(trainer, progress, lambda: torch.set_rng_state(checkpoint.generator))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule):
        if trainer.sanity_checking:
            return
        if self._monitor not in trainer.callback_metrics:
            logged = ", ".join(trainer.callback_metrics)
            raise MisconfigurationException(f"{self._monitor!r} is not logged in validation, only: {logged}; "
                                            "ModelCheckpoint(monitor=...) names another")
        loss = float(trainer.callback_metrics[self._monitor])
        self._valid_loss = loss if math.isfinite(loss) else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule):
        # Lightning logs an epoch's last row after every on_train_epoch_end, and draws for the next one after this.
        self._epoch_end(trainer, pl_module)
        if trainer.current_epoch > 0:
            self._before_draws = torch.get_rng_state()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int):
        if self._every_n_train_steps and batch_idx == 0:
            # A callback may have changed the accumulation of gradients for this epoch.
            parity_epoch.check(trainer)
            self._sampler_seed = parity_epoch.drawn_seed(trainer, self._before_draws)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule):
        self._epoch_end(trainer, pl_module, is_end=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException):
        # If it was raised between an epoch's end and the next one's start, this epoch is not handled yet.
        self._epoch_end(trainer, pl_module)
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        if self._every_n_train_steps and isinstance(exception, SIGTERMException) and 0 < batches < trainer.num_training_batches:
            # Lightning raises it between two steps. Any other exception may have left a step half done.
            with contextlib.suppress(MisconfigurationException, OSError):
                self._save_within_epoch(trainer, pl_module)
        self.save_pending()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str):
        vars(trainer.fit_loop.epoch_loop).pop("on_advance_end", None)

    def _step_end(self, trainer: Trainer, module: LightningModule):
        """Saves a checkpoint within the epoch if one is due. After the epoch's last step, its end does."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        if batches == trainer.num_training_batches:
            return
        if batches == 1:
            # Refuses what can't be saved in the first step, not when the first checkpoint is due.
            parity_epoch.progress(trainer, self._sampler_seed)
        if trainer.global_step % self._every_n_train_steps == 0:
            self._save_within_epoch(trainer, module)

    def _epoch_end(self, trainer: Trainer, module: LightningModule, is_end: bool = False):
        """Handles a finished epoch, and saves a checkpoint if one is due or the epoch is the best or the last."""
        if trainer.current_epoch <= self._epochs:
            return
        self._epochs = trainer.current_epoch
        trainer.logger.save()
        state = TrainerState(
            epoch=self._epochs - 1,
            global_step=trainer.global_step,
            valid_loss=self._valid_loss,
            metrics_sha256=trainer.logger.experiment.sha256(),
            lr_schedulers=_schedulers(trainer),
        )
        self._valid_loss = None
        self._pending = state, _serialize(module, trainer.optimizers[0], state, self._hyper_parameters)
        is_due = self._every_n_train_steps and state.global_step % self._every_n_train_steps == 0
        if is_end or is_due or self._epochs % self._every_n_epochs == 0 or self._is_best(state):
            self.save_pending()

    def _save_within_epoch(self, trainer: Trainer, module: LightningModule):
        """Saves a checkpoint after a step, unless a metric is not finite or a tensor contains NaN: nobody could resume it."""
        progress, optimizer = parity_epoch.progress(trainer, self._sampler_seed), trainer.optimizers[0]
        tensors = [*named_tensors(module).values(), *(tensor for state in optimizer.state.values() for tensor in state.values()
                                                       if isinstance(tensor, torch.Tensor))]
        if progress is None or any(tensor.isnan().any() for tensor in tensors):
            return
        trainer.logger.save()
        state = TrainerState(
            epoch=trainer.current_epoch,
            global_step=trainer.global_step,
            valid_loss=None,
            metrics_sha256=trainer.logger.experiment.sha256(),
            lr_schedulers=_schedulers(trainer),
            batch_progress=progress,
        )
        self._pending = state, _serialize(module, optimizer, state, self._hyper_parameters)
        self.save_pending()

    def _is_best(self, state: TrainerState) -> bool:
        """True if `state` is better than the best so far. As in Lightning, NaN counts as infinite and ties do not count."""
        if state.batch_progress:
            return False
        if self._best_valid_loss is None:
            return state.valid_loss is not None or self.best is None
        return state.valid_loss is not None and state.valid_loss < self._best_valid_loss

    def save_pending(self):
        """Saves the newest checkpoint, unless it is saved, and removes those that are neither last nor best."""
        if self._pending is None:
            return
        (state, data), self._pending = self._pending, None
        name = _name_of(state)
        write_file(self._folder / name, data)
        # LAST changes last: if the run dies in between, it resumes from the previous checkpoint and gives the same bytes.
        if self._is_best(state):
            _link(self._folder / BEST, name, data)
            self._best, self._best_valid_loss = name, state.valid_loss
        _link(self._folder / LAST, name, data)
        self._last = name
        kept = self._last, self._best
        for path in self._folder.iterdir():
            if re.fullmatch(r"epoch=[0-9]+-step=[0-9]+\.safetensors", path.name) and path.name not in kept:
                path.unlink()


# The program.


def _fail(message: str):
    sys.exit(shown(f"error: {message}"))


def to_safetensors(weights: PathLike, out: PathLike):
    """Converts a file of torch.save or Lightning to a safetensors file.

    The file is a state_dict or a Lightning checkpoint. Removes a wrapper's prefix, such as the `model.` of ISLP's
    SimpleModule, if all names begin with it. Exits with a line on stderr if the file contains anything else.
    """
    try:
        state_dict = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:
        _fail(f"{weights}: not weights saved by torch.save or Lightning: {str(error).splitlines()[0]}")
    if isinstance(state_dict, dict) and isinstance(state_dict.get("state_dict"), dict):
        # A Lightning checkpoint.
        state_dict = state_dict["state_dict"]
    if not isinstance(state_dict, dict) or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state_dict.items()):
        _fail(f"{weights}: contains something other than tensors by name; save model.state_dict()")

    # safetensors refuses shared tensors. If a tensor has two names, as in MNISTModel, the first stays.
    tensors, seen = {}, set()
    for name, tensor in unwrapped(state_dict).items():
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride(),
                 tensor.dtype)
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            tensors[name] = tensor.contiguous()
    write_file(out, safetensors.torch.save(tensors))


def main():
    parser = argparse.ArgumentParser(
        description="Converts weights that PyTorch or Lightning saved to a safetensors file. Such files are pickles: "
        "convert only those that you trust.")
    parser.add_argument("weights", metavar="WEIGHTS.pt|RUN.ckpt")
    parser.add_argument("out", metavar="OUT.safetensors")
    args = parser.parse_args()
    try:
        to_safetensors(args.weights, args.out)
    except OSError as error:
        _fail(f"cannot write {args.out}: {error.strerror}")


if __name__ == "__main__":
    main()
