"""Traces LightningModules of many kinds: python tests/traced_modules.py. Writes NAME.trace to the working folder.

Also checks that a Trace restores the module at the end of a fit, even of one that fails.
"""

import json
import sys
from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from parity_trace import Trace


class Parts(LightningModule):
    """Has no `forward`, parts in a ModuleList, noise before the first part, and integer and boolean buffers."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)])
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.parts[0].bias.requires_grad_(False)

    def training_step(self, batch, batch_idx):
        x = batch["x"] + torch.randn_like(batch["x"]) * self.mask
        for part in self.parts:
            x = torch.dropout(part(x), 0.1, True)
        return {"loss": nn.functional.cross_entropy(x, batch["y"])}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class TwoOptimizers(LightningModule):
    """Has manual optimization, a sparse gradient, and f64."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.words = nn.Embedding(8, 2, sparse=True, dtype=torch.float64)
        self.line = nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        losses = [self.words(batch["y"]).square().mean(), nn.functional.cross_entropy(self.line(batch["x"]), batch["y"])]
        for loss, optimizer in zip(losses, self.optimizers()):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SparseAdam(self.words.parameters()), torch.optim.SGD(self.line.parameters(), 0.1, momentum=0.9)


class Failing(Parts):
    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 3:
            raise ArithmeticError
        return super().training_step(batch, batch_idx)


def collate(pairs):
    return {"x": torch.stack([x for x, _ in pairs]), "y": torch.stack([y for _, y in pairs])}


def fit(name, module, **options):
    torch.manual_seed(1)
    data = TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)
    trace = Trace(f"{name}.trace", steps=range(2))
    for _ in range(2):
        trainer = Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                          callbacks=[trace], **options)
        before = dict(vars(module))
        try:
            trainer.fit(module, DataLoader(data, 8, collate_fn=collate))
        except ArithmeticError:
            pass
        left = {key for key, value in vars(module).items() if before.get(key) is not value and not key.startswith("_")}
        assert not left & {"forward", "training_step"}, left
    return [json.loads(line) for line in Path(f"{name}.trace").read_text().splitlines()[1:]]


def names(quantities):
    return [quantity["name"] for quantity in quantities]


steps = fit("parts", Parts())
# Ten steps and an end for each fit.
assert [step["fit"] for step in steps] == [0] * 11 + [1] * 11
assert [len(steps[i]["quantities"]) for i in (10, 21)] == [0, 0]
# Within an epoch only a step changes the state, because the noise is drawn in the step.
assert all(step["before"] == [] for step in steps[1:5]), names(steps[1]["before"])
assert "grad.parts.0.bias" not in names(steps[0]["quantities"]), "a frozen parameter has no gradient"
assert {"input.x", "input.y", "loss", "optimizer.exp_avg.parts.0.weight", "parts.1.running_mean",
        "mask"} <= set(names(steps[0]["quantities"]))
assert len(fit("accumulated", Parts(), accumulate_grad_batches=2)) == 22
steps = fit("two_optimizers", TwoOptimizers())
assert names(steps[0]["quantities"]).count("loss") == 2
assert len(fit("failing", Failing())) == 6
