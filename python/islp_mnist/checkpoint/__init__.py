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

Each file here imports only from those before it: files, format, tensors, within_epoch, state, reading, writing, schedulers,
csv_logger, model_checkpoint; and convert, which needs only the first.
"""

from islp_mnist.checkpoint.csv_logger import CSVLogger
from islp_mnist.checkpoint.files import read_file, remove_temporaries, shown, write_file
from islp_mnist.checkpoint.format import CheckpointError, MetricsError, VersionError
from islp_mnist.checkpoint.model_checkpoint import ModelCheckpoint
from islp_mnist.checkpoint.reading import load_checkpoint, load_last
from islp_mnist.checkpoint.state import Checkpoint, TrainerState
from islp_mnist.checkpoint.tensors import named_tensors

__all__ = ["CSVLogger", "Checkpoint", "CheckpointError", "MetricsError", "ModelCheckpoint", "TrainerState", "VersionError",
           "load_checkpoint", "load_last", "named_tensors", "read_file", "remove_temporaries", "shown", "write_file"]
