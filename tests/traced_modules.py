"""Traces LightningModules of many kinds: python tests/traced_modules.py. Writes NAME.trace to the working folder.

Also checks that a Trace restores the module at the end of a fit, even of one that fails.
"""

import json
from pathlib import Path

import torch
from islp_mnist.trace import Trace
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy


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


class Layers(LightningModule):
    """Has nested containers, a layer that works in place, one that returns a tuple, a shared one, a loss and a metric."""

    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Sequential(nn.Identity(), nn.Linear(4, 4)))
        self.memory = nn.LSTM(4, 2)
        self.loss = nn.CrossEntropyLoss()
        self.accuracy = MulticlassAccuracy(2)

    def forward(self, x):
        return self.memory(self.front(self.front(x)))[0]

    def training_step(self, batch, batch_idx):
        logits = self(batch["x"])
        self.accuracy(logits, batch["y"])
        return self.loss(logits, batch["y"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Failing(Parts):
    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 3:
            raise ArithmeticError
        return super().training_step(batch, batch_idx)


def collate(pairs):
    return {"x": torch.stack([x for x, _ in pairs]), "y": torch.stack([y for _, y in pairs])}


def fit(name, module, output_gradients=False, **options):
    torch.manual_seed(1)
    data = TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)
    trace = Trace(f"{name}.trace", steps=range(2), output_gradients=output_gradients)
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
assert [name for name in names(steps[0]["quantities"]) if name.startswith("forward")] == [
    "forward.parts.0", "forward.parts.1", "forward.parts.2"]
assert {"input.x", "input.y", "loss", "optimizer.exp_avg.parts.0.weight", "parts.1.running_mean",
        "mask"} <= set(names(steps[0]["quantities"]))
assert len(fit("accumulated", Parts(), accumulate_grad_batches=2)) == 22
steps = fit("two_optimizers", TwoOptimizers())
assert names(steps[0]["quantities"]).count("loss") == 2
assert len(fit("failing", Failing())) == 6
steps = fit("layers", Layers(), output_gradients=True)
front = ["forward.front.0", "forward.front.1", "forward.front.2.1"]
forward = [name for name in names(steps[0]["quantities"]) if "forward" in name]
assert forward[:9] == front + front + ["forward.memory.0", "forward.memory.1.0", "forward.memory.1.1"], forward
# Of the memory's outputs only the first affects the loss.
assert forward[9:] == ["grad.forward.memory.0", *[f"grad.{name}" for name in reversed(front + front)]], forward


def loop(name, model):
    """Takes the same steps as `fit` without Lightning."""
    torch.manual_seed(1)
    data = TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)
    trace = Trace(f"{name}.trace", steps=range(2))
    for _ in range(2):
        optimizer = torch.optim.Adam(model.parameters())
        with trace.fit(model, optimizer):
            for epoch in range(2):
                for batch in DataLoader(data, 8, collate_fn=collate):
                    with trace.step(epoch, input=batch):
                        loss = nn.functional.cross_entropy(model(batch["x"]), batch["y"])
                        trace.record("loss", loss)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
        assert not model._forward_hooks and not optimizer._optimizer_step_pre_hooks


class OfLoop(LightningModule):
    def __init__(self, network):
        super().__init__()
        self.model = network

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.model(batch["x"]), batch["y"])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


fit("lightning", OfLoop(network()))
loop("loop", network())
