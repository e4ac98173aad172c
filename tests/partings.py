"""Trainings of the notebook's MLP that differ from the Rust program's: python tests/partings.py DATA_DIR OUT_DIR.

Writes OUT_DIR/NAME.trace for each: two epochs with seed 3 and batches of 48 images, including the tensors of all steps.
`same` must not differ; each of the others has one change, for tests/library/trace/mod.rs to find.
"""

import sys
from pathlib import Path

import torch
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from islp_mnist.trace import Trace
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.optim import RMSprop
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from models import MNISTModel

data_dir, out_dir = sys.argv[1:]
# The same as in scripts/notebook.py.
torch.ones(1).sqrt()


class Flip(Callback):
    """Flips the lowest bit of one weight before one step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 9:
            pl_module.model.layer2[0].weight.data.view(torch.int32)[3, 5] ^= 1


class FlipGradient(Callback):
    """Flips the lowest bit of one gradient in one step."""

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 4:
            pl_module.model.layer1[1].bias.grad.view(torch.int32)[7] ^= 1


class FlipAtTheEnd(Callback):
    """Flips the lowest bit of one weight after the last step."""

    def on_train_end(self, trainer, pl_module):
        pl_module.model._forward[2].bias.data.view(torch.int32)[9] ^= 1


class Swap(Callback):
    """Draws the two masks of one step in the other order."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step != 8:
            return
        rows = len(batch[0])
        second = torch.empty(rows, 128).bernoulli_(1 - 0.3).div_(1 - 0.3)
        first = torch.empty(rows, 256).bernoulli_(1 - 0.4).div_(1 - 0.4)
        self.hooks = [pl_module.model.layer1[3].register_forward_hook(lambda m, args, out: args[0] * first),
                      pl_module.model.layer2[2].register_forward_hook(lambda m, args, out: args[0] * second)]
        # The layers still draw their own masks.
        self.state = torch.get_rng_state()

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_step == 8:
            torch.set_rng_state(self.state)
            for hook in self.hooks:
                hook.remove()


class SwapInside(MNISTModel):
    """Draws the two masks in the other order, within the forward pass."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        second = torch.empty(len(x), 128).bernoulli_(1 - 0.3).div_(1 - 0.3)
        first = torch.empty(len(x), 256).bernoulli_(1 - 0.4).div_(1 - 0.4)
        hidden = self.layer2[1](self.layer2[0](self.layer1[2](self.layer1[1](self.layer1[0](x))) * first)) * second
        return self._forward[2](hidden)


class DropLast(SimpleDataModule):
    def train_dataloader(self):
        return DataLoader(self.train_dataset, shuffle=True, batch_size=self.batch_size, drop_last=True)


class OtherBound(MNISTModel):
    def __init__(self):
        super().__init__()
        state = torch.get_rng_state()
        weight = self._forward[2].weight
        torch.manual_seed(0)
        nn.init.kaiming_uniform_(weight, a=0)
        torch.set_rng_state(state)


def train(name, model=MNISTModel, data=SimpleDataModule, callback=None, **options):
    seed_everything(3, workers=True)
    mnist = [MNIST(root=data_dir, train=train, transform=ToTensor()) for train in (True, False)]
    datamodule = data(*mnist, validation=0.2, batch_size=48)
    network = model()
    module = SimpleModule.classification(network, num_classes=10,
                                         optimizer=RMSprop(network.parameters(), lr=0.01, **options))
    callbacks = [Trace(Path(out_dir) / f"{name}.trace", steps=range(20)), ErrorTracker()]
    # Runs after the Trace, where its change is harder to see.
    callbacks += [callback] if callback else []
    trainer = Trainer(deterministic=True, max_epochs=2, logger=CSVLogger(out_dir, name=name), callbacks=callbacks,
                      enable_progress_bar=False, enable_checkpointing=False)
    trainer.fit(module, datamodule=datamodule)


train("same")
train("flip", callback=Flip())
train("flip_gradient", callback=FlipGradient())
train("flip_at_the_end", callback=FlipAtTheEnd())
train("swap", callback=Swap())
train("swap_inside", model=SwapInside)
train("eps", eps=1.0000001e-8)
train("drop_last", data=DropLast)
train("bound", model=OtherBound)
train("momentum", momentum=0.1)
