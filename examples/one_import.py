"""ISLP's SimpleModule trained in Rust: python examples/one_import.py, with the package islp_mnist. docs/python.md explains it."""

import islp_mnist
import pytorch_lightning
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule

# from pytorch_lightning import Trainer
from islp_mnist import Trainer
from torch.utils.data import TensorDataset

import torch
from torch import nn


def data_and_module() -> tuple[SimpleDataModule, SimpleModule]:
    """Points, and whether they are inside a circle."""
    torch.manual_seed(0)
    points = torch.rand(1000, 2) * 2 - 1
    dataset = TensorDataset(points, (points.norm(dim=1) < 0.8).long())
    data = SimpleDataModule(dataset, dataset, validation=0.2, batch_size=50)
    network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))
    return data, SimpleModule.classification(network, num_classes=2)


options = dict(max_epochs=5, logger=False, enable_checkpointing=False, enable_progress_bar=False)

data, module = data_and_module()
trainer = Trainer(callbacks=[ErrorTracker()], **options)
trainer.fit(module, datamodule=data)
in_rust = module.state_dict()

data, module = data_and_module()
trainer = pytorch_lightning.Trainer(callbacks=[ErrorTracker()], **options)
beside = islp_mnist.beside(trainer)
trainer.fit(module, datamodule=data)
print(beside)     # 80 training steps, 1346 tensors compared, all the same in Rust

assert all(torch.equal(tensor, in_rust[name]) for name, tensor in module.state_dict().items())
