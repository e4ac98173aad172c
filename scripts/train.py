"""Trains one of the notebook's models with Lightning: the counterpart of `islp-mnist train`.

It takes the same options, gives the same bytes and leaves the same folder OUTPUT_DIR/NAME/version_N, with metrics.csv,
model.safetensors, accuracy.png and .svg, run.json and checkpoints/. The last line printed is the folder's path. With
--resume, either side resumes the other's runs.

Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 stops the run after the current step; --resume then repeats the unfinished epoch, or,
with --checkpoint-every-n-steps, continues with the next step.
Exit code: 0 at the end or when --max-time elapses, 130, 143, 129 or 138 after these signals, 3 if the loss becomes NaN or
infinite, 2 if an option is wrong, 1 for any other error.
"""

import sys
import time
from pathlib import Path

start = time.monotonic()
sys.path.insert(0, str(Path(__file__).parent))
import options
from options import Failed

try:
    # torch and Lightning take seconds to import.
    args = options.parse_args(sys.argv[1:], __doc__)
except Failed as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

import atexit
import contextlib
import fcntl
import io
import json
import logging
import math
import multiprocessing
import os
import signal
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
import safetensors.torch
import torch
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from islp_mnist.checkpoint import (Checkpoint, CheckpointError, CSVLogger, MetricsError, ModelCheckpoint, VersionError,
                                   load_last, read_file, remove_temporaries, shown, write_file)
from islp_mnist.trace import Trace
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch.optim import RMSprop
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

import mnist_files
from environment import environment
from models import MNIST_MLR, MNISTModel
from paths import from_text, print_path, shell_word, to_text

MODELS = {"mlp": ("MNIST", MNISTModel), "mlr": ("MNIST_MLR", MNIST_MLR)}
RUN_JSON = "run.json"
MAX_RUN_JSON = 1 << 20


def say(text: str):
    print(shown(text), file=sys.stderr, flush=True)


# run.json.


def read_run_json(path: str) -> dict[str, Any]:
    """Reads a run.json, given its path or its folder's. Raises Failed if it is not a run.json."""
    path = os.path.join(path, RUN_JSON) if os.path.isdir(path) else path
    run = parse_json(path, read_file(path, MAX_RUN_JSON))
    if isinstance(run, dict) and run.get("command") == "reproduce":
        raise Failed(f"{path}: written by `reproduce`, whose two models draw from one generator; run `reproduce` again, or "
                     "start a new run with scripts/train.py")
    try:
        return check_run(run)
    except Failed as error:
        raise Failed(f"{path}: not the {RUN_JSON} of a run: {error}") from error


def read_from(path: Optional[str]) -> Optional[dict[str, Any]]:
    """Reads the run that --from repeats."""
    try:
        return None if path is None else read_run_json(path)
    except (OSError, Failed) as error:
        reason = explain(error) if isinstance(error, OSError) else error
        raise Failed(f"--from takes the {RUN_JSON} of a run, or its folder: {reason}") from error


def parse_json(path: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Failed(f"{path}: not the {RUN_JSON} of a run: {error}") from error


def check_run(run: Any) -> dict[str, Any]:
    """Checks the contents of a run.json or of a checkpoint's hyper-parameters, and converts the options to this program's.
    Raises Failed if they are something else."""
    try:
        environment = run["environment"]
        if not all(isinstance(run[name], dict) for name in ("options", "data", "environment")):
            raise Failed("its options, data or environment are not objects")
        if not isinstance(environment["cpu_capability"], str) or not isinstance(run["start"], str):
            raise Failed("its start or cpu_capability is not a string")
        data_dir = run.get("data_dir") or ""
        if not isinstance(data_dir, str) or "\0" in from_text(data_dir):
            raise Failed("its data_dir is not a path")
        return run | {"options": options.from_fields(run["options"])}
    except (KeyError, TypeError) as error:
        raise Failed(f"it lacks {error}") from error


def write_run_json(log_dir: Path, run: dict[str, Any], data_dir: str, outcome: Optional[dict[str, Any]]):
    data_set = mnist_files.data_set(run["data"])
    whole = run | {"data_dir": to_text(data_dir), "data_set": data_set, "outcome": outcome}
    write_file(log_dir / RUN_JSON, (json.dumps(whole, indent=2) + "\n").encode())


def describe(chosen: dict[str, Any], data_dir: str, base: Optional[dict[str, Any]], is_resumed: bool) -> dict[str, Any]:
    """Returns the run's content for run.json; warns of differences from the run that is resumed or repeated."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    run = {"options": chosen, "data": mnist_files.checksums(data_dir), "environment": environment(), "start": now}
    if base is None:
        return run
    for file, sha256 in run["data"].items():
        if base["data"].get(file) != sha256:
            raise Failed(f"{mnist_files.find(data_dir, file)}: not the file that the run was trained on; "
                         f"{mnist_files.HINT}")
    for what, name in ("CPU capability", "cpu_capability"), ("libtorch", "libtorch"):
        then, now = base["environment"].get(name), run["environment"][name]
        if then != now:
            say(f"warning: {what} was {then or 'unknown'} and is {now}; the results may differ in their last digits")
    return run | {"start": base["start"]} if is_resumed else run


# The folder of a run.


def lock(log_dir: str):
    """Locks a run's folder until this process ends, with the same lock as `islp-mnist`. Warns if the file system has no
    locks."""
    try:
        folder = os.open(log_dir, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed(f"{log_dir}: another process is training this run; wait until it ends, or stop it") from None
    except OSError as error:
        # Lustre has no locks, nor does NFS without its lock service.
        say(f"warning: {log_dir}: cannot be locked here ({error.strerror}), so do not start a second process on this run")
        return
    # The loaders' workers survive a killed process for some seconds.
    os.register_at_fork(after_in_child=lambda: os.close(folder))


def new_folder(output_dir: str, name: str) -> Path:
    """Creates a new folder OUTPUT_DIR/NAME/version_N, never that of another run."""
    try:
        os.makedirs(os.path.join(output_dir, name), exist_ok=True)
        version = CSVLogger(output_dir, name).version
        while True:
            log_dir = Path(output_dir, name, f"version_{version}")
            try:
                log_dir.mkdir()
                # Removes the folder again if the run cannot start.
                atexit.register(remove_if_empty, log_dir)
                return log_dir
            except FileExistsError:
                # Another run has taken that number in the meantime.
                version += 1
    except OSError as error:
        raise Failed(f"cannot write to the output folder {os.path.join(output_dir, name)}: {error.strerror}; "
                     "choose another with --output-dir") from error


def remove_if_empty(folder: Path):
    with contextlib.suppress(OSError):
        folder.rmdir()


@dataclass
class Earlier:
    """The run that --resume continues."""

    log_dir: str
    run: dict[str, Any]
    # None if the run was stopped before its first checkpoint; it then starts over.
    checkpoint: Optional[Checkpoint]

    @property
    def epochs_begun(self) -> int:
        """Epochs begun before its last checkpoint."""
        return self.checkpoint.state.epoch + 1 if self.checkpoint else 0

    @classmethod
    def read(cls, log_dir: str) -> "Earlier":
        """Reads the run in a folder, and locks the folder for this process."""
        if not os.path.isdir(log_dir):
            raise Failed(f"{log_dir}: no such folder; name the version_N folder of a run")
        lock(log_dir)
        checkpoint = load_last(log_dir)
        try:
            run = read_run_json(log_dir)
        except (OSError, Failed) as error:
            if checkpoint is None:
                reason = explain(error) if isinstance(error, OSError) else error
                raise Failed(f"{log_dir}: no checkpoint of `train` to resume from: {reason}") from error
            run = None
        if checkpoint is not None:
            try:
                saved = check_run(checkpoint.hyper_parameters)
            except Failed as error:
                raise Failed(f"{log_dir}: its checkpoint is not from a run of `train`: {error}") from error
            if run is None:
                run = saved | {"data_dir": None, "outcome": None}
            elif options.unchangeable(run["options"], saved["options"]):
                # A run resumed without a new checkpoint left a newer run.json, but the checkpoint has the options in effect.
                run |= saved
        earlier = cls(log_dir, run, checkpoint)
        if earlier.epochs_begun > run["options"]["epochs"]:
            epochs = "epoch" if run["options"]["epochs"] == 1 else "epochs"
            raise Failed(f"{log_dir}: damaged: {earlier.epochs_begun} of {run['options']['epochs']} {epochs} begun")
        return earlier

    def check(self, chosen: dict[str, Any]):
        """Raises Failed if an option conflicts with the run's."""
        if found := options.unchangeable(chosen, self.run["options"]):
            flag, now, then = found
            raise Failed(f"{flag} {now} conflicts with --resume {self.log_dir} (its run used {then}): leave it out, or "
                         f"start a new run with --from {shell_word(os.path.join(self.log_dir, RUN_JSON))}", 2)
        if chosen["epochs"] < self.epochs_begun:
            raise Failed(f"--epochs {chosen['epochs']} is less than the {self.epochs_begun} epochs that the run in {self.log_dir} "
                         "has begun", 2)


def choose_options(base: Optional[dict[str, Any]]) -> dict[str, Any]:
    """Returns the given options, completed by those of the run that is resumed or repeated, or by the defaults."""
    given = options.given(args)
    for name in "device", "generator":
        if base is not None and given.get(name) == "auto":
            # `auto` keeps the run's value.
            del given[name]
    return (options.DEFAULTS if base is None else base["options"]) | given


# Training.


class Diverged(Exception):
    """The loss became NaN or infinite."""


class Interrupted(Exception):
    """A signal asked the run to stop."""


class Interrupt:
    """Handles Ctrl-C, SIGTERM, SIGHUP and SIGUSR1. The first asks the run to stop; a second Ctrl-C or SIGTERM ends the
    process."""

    # A closed terminal may send SIGHUP twice, and Slurm SIGUSR1.
    MAY_COME_TWICE = signal.SIGHUP, signal.SIGUSR1

    signal: Optional[int] = None

    def catch(self):
        # Under Slurm, Lightning would save its own checkpoint at SIGUSR1, unless the signal already has a handler.
        for number in signal.SIGINT, signal.SIGTERM, *self.MAY_COME_TWICE:
            # `nohup` makes the process ignore SIGHUP.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._come)

    def _come(self, number: int, _frame):
        if self.signal is not None and number not in self.MAY_COME_TWICE:
            os._exit(128 + number)
        self.signal = number


class Ends(Callback):
    """Ends a fit at the same points as `islp-mnist train`, in addition to max_epochs."""

    def __init__(self, interrupt: Interrupt, max_time: Optional[float], saves_steps: bool):
        self.interrupt = interrupt
        self.max_time = max_time
        # Checkpoints within an epoch are saved between two steps.
        self.saves_steps = saves_steps
        self.last_loss: Optional[float] = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._check(trainer, outputs["loss"])
        self.last_loss = float(outputs["loss"])
        if self.interrupt.signal is not None:
            if trainer.is_last_batch or not self.saves_steps:
                raise Interrupted
            # Lightning then raises SIGTERMException once it has logged this step.
            trainer._signal_connector.received_sigterm = True

    def on_train_epoch_end(self, trainer, pl_module):
        for name in "train_loss", "valid_loss":
            self._check(trainer, trainer.callback_metrics[name])
        elapsed = time.monotonic() - start
        if self.max_time is not None and elapsed >= self.max_time and trainer.current_epoch + 1 < trainer.max_epochs:
            elapsed = timedelta(seconds=int(elapsed))
            if not args.quiet:
                say(f"Time limit reached. Elapsed time is {elapsed}. Signaling Trainer to stop.")
            trainer.should_stop = True

    def _check(self, trainer: Trainer, loss: torch.Tensor):
        if math.isfinite(loss):
            return
        after = "" if self.last_loss is None else f" after {self.last_loss}"
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        raise Diverged(f"the training diverged: in epoch {trainer.current_epoch} at step {trainer.global_step - 1} the "
                       f"loss became {float(loss)}{after}, with a learning rate of {lr}")


class Lines(Callback):
    """Prints a line for each epoch if there is no progress bar."""

    # The time when this fit began, and the step.
    begin: Optional[tuple[float, int]] = None

    def on_train_epoch_start(self, trainer, pl_module):
        self.begin = self.begin or (time.monotonic(), trainer.global_step)

    def on_train_epoch_end(self, trainer, pl_module):
        (begin, first), now = self.begin, time.monotonic()
        done, epochs = trainer.current_epoch + 1, trainer.max_epochs
        left = (now - begin) / (trainer.global_step - first) * (epochs - done) * trainer.num_training_batches
        if args.max_time is not None:
            left = min(left, max(start + args.max_time - now, 0))
        names = "train_loss", "valid_loss", "train_accuracy_epoch", "valid_accuracy"
        metrics = ", ".join(f"{name} {short(float(trainer.callback_metrics[name]))}" for name in names)
        say(f"epoch {done}/{epochs}: {metrics}, {in_words(left)} left")


def short(value: float) -> str:
    """Formats a metric for people. A diverging loss would otherwise have 30 digits or more."""
    return f"{value:.3e}" if abs(value) >= 1e6 else f"{value:.4f}"


def in_words(seconds: float) -> str:
    """Formats a duration as `12 s`, `3 m 20 s`, `2 h 5 m` or `4 d 3 h`."""
    seconds = round(seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes == 0:
        return f"{seconds} s"
    if hours == 0:
        return f"{minutes} m {seconds % 60} s"
    if days == 0:
        return f"{hours} h {minutes % 60} m"
    return f"{days} d {hours % 24} h" if days < 1000 else "years"


def open_trace() -> list[Callback]:
    """Creates the file of the requested trace, if any."""
    try:
        if args.trace is None:
            return []
        return [Trace(args.trace, args.trace_steps, args.trace_skip, args.trace_output_gradients)]
    except FileExistsError:
        raise Failed(f"{args.trace}: already exists; a trace is written to a new file; choose another with --trace"
                     ) from None
    except OSError as error:
        raise Failed(f"cannot write {args.trace}: {error.strerror}") from error


def load(chosen: dict[str, Any], data_dir: str) -> SimpleDataModule:
    """Creates the data module: the data's split and loaders."""
    try:
        with mnist_files.laid_out(data_dir) as root:
            train, test = (MNIST(root=root, train=is_train, transform=ToTensor()) for is_train in (True, False))
    except Failed:
        raise
    except Exception as error:
        raise Failed(f"{mnist_files.folder(data_dir)}: not MNIST's files: {error}; {mnist_files.HINT}") from error
    validation = chosen["validation"]
    data = SimpleDataModule(train, test, validation=validation, num_workers=chosen["num_workers"],
                            batch_size=chosen["batch_size"])
    parts = (data.validation_dataset, "validation", "larger"), (data.train_dataset, "training", "smaller")
    for part, which, other in parts:
        if len(part) == 0:
            raise Failed(f"a validation fraction of {validation} leaves none of the {len(train)} images for {which}; "
                         f"use a {other} --validation", 2)
    batches = math.ceil(len(data.train_dataset) / chosen["batch_size"])
    limit = chosen["limit_train_batches"]
    if isinstance(limit, float) and int(limit * batches) == 0:
        raise Failed(f"--limit-train-batches {limit} leaves none of the {batches} batches per epoch; use a larger one", 2)
    return data


def device_of(option: str) -> str:
    """Returns the device to train on; `auto` is a GPU if torch can use one."""
    if option == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = option.partition(":")
    if kind != "cuda":
        return option
    if int(index or 0) >= torch.cuda.device_count():
        raise Failed(f"--device {option}: torch sees {torch.cuda.device_count()} GPUs; check nvidia-smi and "
                     "CUDA_VISIBLE_DEVICES, or use --device cpu")
    return f"cuda:{index or 0}"


def generator_of(option: str, device: str) -> str:
    """Returns the generator that dropout draws from on this device. Raises Failed if the option asks for the other."""
    own = "cuda" if device.startswith("cuda") else "cpu"
    if option not in ("auto", own):
        raise Failed(f"--generator {option} conflicts with --device {device}: in Python dropout draws from its device's "
                     f"generator; use --generator {own}, or islp-mnist train", 2)
    return own


def make_trainer(chosen: dict[str, Any], logger: CSVLogger, callbacks: list[Callback]) -> Trainer:
    """Creates the notebook's Trainer with the options of the command line."""
    kind, _, index = chosen["device"].partition(":")
    try:
        return Trainer(
            deterministic=True,
            accelerator=kind,
            devices=[int(index or 0)] if kind == "cuda" else 1,
            max_epochs=chosen["epochs"],
            limit_train_batches=chosen["limit_train_batches"],
            logger=logger,
            enable_progress_bar=has_progress_bar(),
            callbacks=callbacks,
        )
    except MisconfigurationException as error:
        raise Failed(f"--device {chosen['device']}: {error}; use --device cpu") from error


def has_progress_bar() -> bool:
    return not args.no_progress and not args.quiet and sys.stderr.isatty()


def fit(trainer: Trainer, module: SimpleModule, data: SimpleDataModule) -> tuple[Optional[str], Optional[Exception]]:
    """Trains. Returns run.json's `end` and the error; `end` is None after an error of the system, such as a full disk."""
    # Lightning's progress bar writes to stdout, which is reserved for the path of the run's folder.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            trainer.fit(module, datamodule=data)
        except Diverged as error:
            return "diverged", error
        except (Interrupted, SIGTERMException):
            return "interrupted", None
        except OSError as error:
            return None, Failed(explain(error))
    return "max_epochs" if trainer.current_epoch == trainer.max_epochs else "max_time", None


def explain(error: OSError) -> str:
    """Formats a system error with its file."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def resume_hint(log_dir: Path) -> str:
    """Says how to resume a run that did not finish."""
    return f"resume with scripts/train.py --resume {shell_word(log_dir)}, or islp-mnist train"


def save_figure(log_dir: Path):
    """Saves the notebook's figure as accuracy.png and accuracy.svg."""
    results = pd.read_csv(log_dir / "metrics.csv")
    fig, ax = plt.subplots(1, 1, figsize=(6, 6))
    results.plot(x="epoch", y="train_accuracy_epoch", ax=ax, label="Training", marker="o", color="k")
    results.plot(x="epoch", y="valid_accuracy", ax=ax, label="Validation", marker="+", color="r")
    ax.set_ylabel("Accuracy")
    for kind in "png", "svg":
        figure = io.BytesIO()
        fig.savefig(figure, format=kind)
        write_file(log_dir / f"accuracy.{kind}", figure.getvalue())
    plt.close(fig)


def last_metrics(rows: list[dict[str, Any]]) -> dict[str, Optional[float]]:
    """Returns the last value of every metric, or None if it was not finite."""
    last = {name: float(value) for row in rows for name, value in row.items() if name not in ("epoch", "step")}
    return {name: value if math.isfinite(value) else None for name, value in sorted(last.items())}


def hint(error: CheckpointError) -> str:
    """Says what to do about a run that cannot be resumed."""
    if isinstance(error, MetricsError):
        return "put the file back, or start a new run"
    anew = f"start a new run with --from and its {RUN_JSON}"
    return f"resume with that version, or {anew}" if isinstance(error, VersionError) else anew


def main() -> int:
    """Runs the command and returns the exit code."""
    if args.quiet:
        for name in "pytorch_lightning", "lightning_fabric":
            logging.getLogger(name).setLevel(logging.WARNING)
    earlier = Earlier.read(args.resume) if args.resume is not None else None
    base = earlier.run if earlier else read_from(vars(args)["from"])
    chosen = choose_options(base)
    if earlier:
        earlier.check(chosen)

    if chosen["vary"] is not None:
        raise Failed(f"--vary {chosen['vary']}: PyTorch draws everything from one stream; use islp-mnist train", 2)
    chosen["device"] = device_of(chosen["device"])
    chosen["generator"] = generator_of(chosen["generator"], chosen["device"])
    # The same as in scripts/notebook.py.
    multiprocessing.set_start_method("fork")
    if chosen["threads"]:
        torch.set_num_threads(chosen["threads"])
    seed_everything(chosen["seed"] % 2**32, workers=True)
    torch.manual_seed(chosen["seed"])
    torch.ones(1).sqrt()
    # From here on the options have the values that the run uses.
    chosen["threads"] = torch.get_num_threads()

    of_run = (base or {}).get("data_dir")
    data_dir = args.data_dir or os.environ.get("ISLP_MNIST_DATA_DIR") or (from_text(of_run) if of_run else "data")
    run = describe(chosen, data_dir, base, is_resumed=earlier is not None)
    data = load(chosen, data_dir)
    name, model = MODELS[chosen["model"]]
    model = model()
    module = SimpleModule.classification(model, num_classes=10, optimizer=RMSprop(model.parameters(), lr=chosen["lr"]))

    traces = open_trace()
    if earlier:
        log_dir = Path(earlier.log_dir)
        remove_temporaries(log_dir)
    else:
        try:
            log_dir = new_folder(getattr(args, "output_dir", "output"), chosen["name"] or name)
        except Failed:
            # An empty trace would make the next attempt fail.
            if traces:
                os.unlink(args.trace)
            raise
        lock(str(log_dir))
    checkpoint = earlier.checkpoint if earlier else None
    interrupt = Interrupt()
    interrupt.catch()
    ends = Ends(interrupt, args.max_time, saves_steps=chosen["checkpoint_every_n_steps"] is not None)
    checkpoints = ModelCheckpoint(run, every_n_epochs=chosen["checkpoint_every"], resume=checkpoint,
                                  every_n_train_steps=chosen["checkpoint_every_n_steps"])
    logger = CSVLogger.resume(log_dir, checkpoint)
    lines = [] if args.quiet or has_progress_bar() else [Lines()]
    trainer = make_trainer(chosen, logger, [ErrorTracker()] + traces + lines + [ends, checkpoints])
    outcome = earlier.run.get("outcome") if earlier else None
    if not args.quiet and (note := mnist_files.note(data_dir, run["data"])):
        say(note)
    write_run_json(log_dir, run, data_dir, outcome)
    end, error = fit(trainer, module, data)
    if end is None:
        if checkpoints.last:
            raise Failed(f"{error}; the last checkpoint is {shell_word(checkpoints.last)}, {resume_hint(log_dir)}")
        raise Failed(f"{error}; there is no checkpoint")

    if end in ("max_epochs", "max_time"):
        weights = {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}
        write_file(log_dir / "model.safetensors", safetensors.torch.save(weights))
        save_figure(log_dir)
    write_run_json(log_dir, run, data_dir, {
        "end": end,
        "epochs": trainer.current_epoch,
        "global_step": trainer.global_step,
        "duration_seconds": (outcome or {}).get("duration_seconds", 0.0) + time.monotonic() - start,
        "metrics": last_metrics(logger.experiment.rows),
    })
    if end == "diverged":
        best = f"; the best checkpoint is {checkpoints.best}" if checkpoints.best else ""
        raise Failed(f"{error}{best}; use a smaller --lr", 3)
    print_path(log_dir)
    if end == "interrupted":
        say(f"interrupted; {resume_hint(log_dir)}")
        return 128 + interrupt.signal
    return 0


if __name__ == "__main__":
    try:
        exit_code = main()
    except Failed as error:
        say(f"error: {error}")
        exit_code = error.exit_code
    except OSError as error:
        say(f"error: {explain(error)}")
        exit_code = 1
    except CheckpointError as error:
        say(f"error: {error}; {hint(error)}")
        exit_code = 1
    sys.exit(exit_code)
