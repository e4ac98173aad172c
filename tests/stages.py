"""Saves the result of each stage of a training run in Python: python tests/stages.py DATA_DIR FILE.safetensors.

Split, initialization, first batch, logits, loss, gradients and RMSprop steps of the notebook's MLP with seed 1 and ISLP's
data module; tests/stages.rs compares its own with them.
"""

import sys
from pathlib import Path

import torch
from ISLP.torch import SimpleDataModule, SimpleModule
from pytorch_lightning import seed_everything
from safetensors.torch import save_file
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from models import MNISTModel

data_dir, file = sys.argv[1:]
STEPS = 20
stages = {}
# The same as in scripts/notebook.py.
torch.ones(1).sqrt()

seed_everything(1, workers=True)
mnist_train = MNIST(root=data_dir, train=True, transform=ToTensor())
mnist_test = MNIST(root=data_dir, train=False, transform=ToTensor())
data = SimpleDataModule(mnist_train, mnist_test, validation=0.2, batch_size=256)
stages["split.train"] = torch.tensor(data.train_dataset.indices)
stages["split.validation"] = torch.tensor(data.validation_dataset.indices)

batches = iter(data.train_dataloader())
images, labels = next(batches)
stages["batch.images"], stages["batch.labels"] = images, labels

model = MNISTModel()
for name, parameter in model.named_parameters():
    stages[f"init.{name}"] = parameter.detach().clone()

model.eval()
stages["logits.eval"] = model(images).detach()
model.train()

module = SimpleModule.classification(model, num_classes=10)
optimizer = module.configure_optimizers()
for step in range(STEPS):
    logits = module(images)
    loss = module.loss(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    if step == 0:
        stages["logits.train"], stages["loss"] = logits.detach(), loss.detach()
        stages["accuracy"] = module.metrics["accuracy"](logits, labels)
        for name, parameter in model.named_parameters():
            stages[f"gradient.{name}"] = parameter.grad.clone()
    optimizer.step()
    images, labels = next(batches)
for name, parameter in model.named_parameters():
    stages[f"stepped.{name}"] = parameter.detach()
    stages[f"square_avg.{name}"] = optimizer.state[parameter]["square_avg"]

save_file({name: tensor.contiguous() for name, tensor in stages.items()}, file)
