"""The MNIST notebook of ISLP, cell by cell, run by ISLP and Lightning.

This is the reference for `islp-mnist reproduce`, compared byte for byte. A cell that only shows a value prints it here.
Unlike the notebook, this script takes options, passes MNIST_MLR's Trainer the logger that the notebook creates but does not
use, saves figure, weights and run.json beside each metrics.csv, and avoids a race in MKL.
"""

import argparse
import os
import sys
from datetime import datetime, timezone

start = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

# In isolated mode, as in scripts/parity.sh, Python does not search the script's own folder.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from options import DEFAULTS, add_options, add_trace_options, check_trace_options

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
OPTIONS = ["epochs", "batch_size", "validation", "seed", "num_workers", "lr", "threads"]
add_options(parser, OPTIONS)
parser.set_defaults(**{name: DEFAULTS[name] for name in OPTIONS})
parser.add_argument("--data-dir", default="data")
parser.add_argument("--output-dir", default="output")
parser.add_argument("--no-progress", action="store_true", help="accepted and ignored: the notebook has no progress bar")
parser.add_argument("--quiet", action="store_true", help="accepted and ignored: only Lightning prints to stderr")
add_trace_options(parser)
args = parser.parse_args()
check_trace_options(parser, args)

import csv
import json
import math
import multiprocessing
from pathlib import Path

import pandas as pd
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from pytorch_lightning import seed_everything
from safetensors.torch import save_file
from torch.optim import RMSprop
from torchinfo import summary

import mnist_files
from environment import environment
from paths import to_text

# Recorded now, because the checkout may change before the run ends.
made_on = environment()

# Unless workers are forked, which is not the default since Python 3.14, each would run this script again.
multiprocessing.set_start_method("fork")

if args.threads:
    torch.set_num_threads(args.threads)

# NumPy, which Lightning seeds too, accepts only 32 bits; torch accepts 64.
seed_everything(args.seed % 2**32, workers=True)
torch.manual_seed(args.seed)

# MKL chooses its kernel for RMSprop's square root at the first call. If two threads make that call at once, one may get a
# less accurate kernel, and one run in twenty differs from the others (pytorch/pytorch#188792). A single element uses only
# one thread.
torch.ones(1).sqrt()

from islp_mnist.trace import Trace

traces = []
if args.trace:
    traces = [Trace(args.trace, args.trace_steps, args.trace_skip, args.trace_output_gradients)]

# %%
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

with mnist_files.laid_out(args.data_dir) as root:
    mnist_train = MNIST(root=root, train=True, download=True, transform=ToTensor())
    mnist_test = MNIST(root=root, train=False, download=True, transform=ToTensor())

checksums = mnist_files.checksums(args.data_dir)
if note := mnist_files.note(args.data_dir, checksums):
    print(note, file=sys.stderr, flush=True)

# %%
print(len(mnist_train[0]))
print(mnist_train[0][1])
print(mnist_train[0][0].shape)
print(mnist_train.targets)

# %%
from ISLP.torch import SimpleDataModule

mnist_dataModule = SimpleDataModule(mnist_train, mnist_test, validation=args.validation,
                                    num_workers=args.num_workers, batch_size=args.batch_size)

# %%
for idx, (X_, Y_) in enumerate(mnist_dataModule.train_dataloader()):
    print(f'X_{idx}: ', X_.shape)
    print(f'Y_{idx}: ', Y_.shape)
    if idx == 1:
        break

# %%
from torch import nn


class MNISTModel(nn.Module):
    def __init__(self):
        super(MNISTModel, self).__init__()
        self.layer1 = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28*28, 256),
            nn.ReLU(),
            nn.Dropout(0.4))
        self.layer2 = nn.Sequential(
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(0.3))
        self._forward = nn.Sequential(
            self.layer1,
            self.layer2,
            nn.Linear(128, 10))

    def forward(self, x):
        return self._forward(x)


mnist_model = MNISTModel()

# %%
print(mnist_model(X_).size())

# %%
summary(mnist_model, input_data=X_, col_names=['input_size', 'output_size', 'num_params'])

# %%
from ISLP.torch import SimpleModule

mnist_module = SimpleModule.classification(mnist_model, num_classes=10,
                                           optimizer=RMSprop(mnist_model.parameters(), lr=args.lr))

from pytorch_lightning.loggers import CSVLogger

mnist_logger = CSVLogger(args.output_dir, name='MNIST')

# %%
from pytorch_lightning import Trainer
from ISLP.torch import ErrorTracker

mnist_trainer = Trainer(deterministic=True,
                        max_epochs=args.epochs,
                        logger=mnist_logger,
                        enable_progress_bar=False,
                        callbacks=[ErrorTracker()] + traces)
mnist_trainer.fit(mnist_module, datamodule=mnist_dataModule)


# %%
def plot_accuracy(logger):
    results = pd.read_csv(logger.experiment.metrics_file_path)
    fig, ax = plt.subplots(1, 1, figsize=(6, 6))
    results.plot(x='epoch', y='train_accuracy_epoch', ax=ax, label='Training', marker='o', color='k')
    results.plot(x='epoch', y='valid_accuracy', ax=ax, label='Validation', marker='+', color='r')
    ax.set_ylabel('Accuracy')
    fig.savefig(os.path.join(logger.log_dir, 'accuracy.png'))
    plt.close(fig)


plot_accuracy(mnist_logger)

# %%
print(mnist_trainer.test(mnist_module, datamodule=mnist_dataModule))


# %%
class MNIST_MLR(nn.Module):
    def __init__(self):
        super(MNIST_MLR, self).__init__()
        self.linear = nn.Sequential(nn.Flatten(),
                                    nn.Linear(784, 10))

    def forward(self, x):
        return self.linear(x)


mlr_model = MNIST_MLR()
mlr_module = SimpleModule.classification(mlr_model, num_classes=10,
                                         optimizer=RMSprop(mlr_model.parameters(), lr=args.lr))
mlr_logger = CSVLogger(args.output_dir, name='MNIST_MLR')

# %%
mlr_trainer = Trainer(deterministic=True,
                      max_epochs=args.epochs,
                      logger=mlr_logger,
                      enable_progress_bar=False,
                      callbacks=[ErrorTracker()] + traces)
mlr_trainer.fit(mlr_module, datamodule=mnist_dataModule)

# %%
print(mlr_trainer.test(mlr_module, datamodule=mnist_dataModule))

# %%
plot_accuracy(mlr_logger)
# named_parameters() lists a shared tensor once, under its first name; safetensors refuses state_dict()'s aliases.
for model, logger in (mnist_model, mnist_logger), (mlr_model, mlr_logger):
    save_file({name: p.detach() for name, p in model.named_parameters()},
              os.path.join(logger.log_dir, 'model.safetensors'))


# The same as from `islp-mnist reproduce`, except for the duration of fit and test.
def save_run_json(trainer, logger):
    device = trainer.strategy.root_device
    options = {name: vars(args)[name] for name in
               ('epochs', 'batch_size', 'validation', 'seed', 'num_workers', 'lr')}
    last = {}
    with open(logger.experiment.metrics_file_path, newline='') as metrics:
        for row in csv.DictReader(metrics):
            last |= {name: float(value) for name, value in row.items() if value and name not in ('epoch', 'step')}
    run = {
        'command': 'reproduce',
        'options': options | {'threads': torch.get_num_threads(), 'device': str(device),
                              'generator': 'cuda' if device.type == 'cuda' else 'cpu'},
        'data': checksums,
        'environment': made_on,
        'start': start,
        'data_dir': to_text(args.data_dir),
        'data_set': mnist_files.data_set(checksums),
        'outcome': {
            'end': 'max_epochs',
            'epochs': trainer.current_epoch,
            'global_step': trainer.global_step,
            'metrics': {name: value if math.isfinite(value) else None for name, value in last.items()},
        },
    }
    Path(logger.log_dir, 'run.json').write_text(json.dumps(run, indent=2) + '\n')


save_run_json(mnist_trainer, mnist_logger)
save_run_json(mlr_trainer, mlr_logger)
