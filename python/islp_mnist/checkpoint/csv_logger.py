"""Lightning's CSVLogger for a metrics.csv that a resumed fit continues."""

import csv
import hashlib
import io
import math
import re
from pathlib import Path
from typing import Any, Iterable, Optional

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import loggers
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from islp_mnist.checkpoint.files import PathLike, read_file, shown, write_file
from islp_mnist.checkpoint.format import MAX_METRICS, CheckpointError, MetricsError
from islp_mnist.checkpoint.state import Checkpoint, TrainerState


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
        return self._experiment  # type: ignore[return-value]


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
