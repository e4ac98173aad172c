"""Makes the golden texts of this folder: python tests/golden/make.py DIR."""

import sys
from pathlib import Path

import torch
from torchinfo import summary

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from models import MNIST_MLR, MNISTModel

folder = Path(sys.argv[1])
for model in MNISTModel(), MNIST_MLR():
    # Batch sizes with small and large units, and a whole number of mult-adds (785).
    for batch_size in 1, 20, 256, 100_000:
        table = summary(model, input_size=(batch_size, 1, 28, 28), verbose=0,
                        col_names=["input_size", "output_size", "num_params"])
        (folder / f"summary_{type(model).__name__}_{batch_size}.txt").write_text(f"{table}\n")
