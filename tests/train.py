"""Trains one of the notebook's models with Lightning, as `islp-mnist train` does: python tests/train.py --help.

Writes OUTPUT_DIR/NAME/version_N/metrics.csv and model.safetensors, for tests/train.rs to hold its own against.
"""

import argparse
import sys
from pathlib import Path

import torch
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from safetensors.torch import save_file
from torch.optim import RMSprop
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

sys.path.insert(0, str(Path(__file__).parent))
from models import MNIST_MLR, MNISTModel

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=["mlp", "mlr"])
parser.add_argument("--epochs", type=int)
parser.add_argument("--batch-size", type=int, default=256)
parser.add_argument("--validation", type=float, default=0.2)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--num-workers", type=int, default=4)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--limit-train-batches", default="1.0")
parser.add_argument("--data-dir")
parser.add_argument("--output-dir")
args = parser.parse_args()

# As in scripts/notebook.py.
torch.ones(1).sqrt()
seed_everything(args.seed, workers=True)

data = SimpleDataModule(
    MNIST(root=args.data_dir, train=True, transform=ToTensor()),
    MNIST(root=args.data_dir, train=False, transform=ToTensor()),
    validation=args.validation,
    num_workers=args.num_workers,
    batch_size=args.batch_size,
)
name, model = {"mlp": ("MNIST", MNISTModel), "mlr": ("MNIST_MLR", MNIST_MLR)}[args.model]
model = model()
module = SimpleModule.classification(model, num_classes=10, optimizer=RMSprop(model.parameters(), lr=args.lr))
logger = CSVLogger(args.output_dir, name=name)
limit = args.limit_train_batches
trainer = Trainer(
    deterministic=True,
    max_epochs=args.epochs,
    limit_train_batches=float(limit) if "." in limit else int(limit),
    logger=logger,
    enable_progress_bar=False,
    enable_checkpointing=False,
    callbacks=[ErrorTracker()],
)
trainer.fit(module, datamodule=data)
save_file({name: p.detach() for name, p in model.named_parameters()}, Path(logger.log_dir) / "model.safetensors")
