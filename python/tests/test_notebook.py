"""The notebook leaves the same bits with either Trainer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCHS = os.environ.get("ISLP_MNIST_EPOCHS", "1")


def left_by(module: str, num_workers: int, folder: Path) -> dict:
    folder.mkdir()
    data = folder.parent / "data"
    if not data.exists():
        data.symlink_to(ROOT / "data")
    command = [sys.executable, str(Path(__file__).with_name("run_cells.py")), module, EPOCHS, str(num_workers)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("num_workers", [0, 4])
def test_every_draw_metric_and_tensor_of_the_notebook_is_the_same_with_either_trainer(num_workers, tmp_path):
    lightning = left_by("pytorch_lightning", num_workers, tmp_path / "lightning")
    assert left_by("islp_mnist", num_workers, tmp_path / "rust") == lightning
