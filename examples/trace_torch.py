"""Trains the notebook's MLP in a plain PyTorch loop, with a trace.

    python examples/trace_torch.py data torch.trace feed.npz

feed.npz then contains what another program needs to take the same steps: the initial weights, the batches and the masks of
dropout. examples/trace_jax.py does.
"""

import sys

import numpy as np
import torch
from islp_mnist.trace import Trace
from torch import nn
from torchvision.datasets import MNIST

BATCH_SIZE, STEPS = 256, 200
data_dir, trace_file, feed_file = sys.argv[1:]
torch.manual_seed(0)
mnist = MNIST(root=data_dir, train=True)
batches = torch.randperm(60000)[:STEPS * BATCH_SIZE].split(BATCH_SIZE)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.4),
                      nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3),
                      nn.Linear(128, 10))
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)

feed = {f"{name}.start": tensor.numpy().copy() for name, tensor in model.state_dict().items()}
masks = {name: [] for name, layer in model.named_modules() if isinstance(layer, nn.Dropout)}
for name in masks:
    # Where the input is 0, the mask is unknown and has no effect.
    model.get_submodule(name).register_forward_hook(
        lambda layer, inputs, output, name=name: masks[name].append(((output != 0) | (inputs[0] == 0)).numpy()))

with Trace(trace_file).fit(model, optimizer) as trace:
    for batch in batches:
        x, y = mnist.data[batch].float() / 255, mnist.targets[batch]
        with trace.step(epoch=0, input=x, target=y):
            loss = nn.functional.cross_entropy(model(x), y)
            trace.record("loss", loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

indices = torch.stack(batches)
np.savez_compressed(feed_file, **feed, **{f"{name}.mask": np.stack(taken) for name, taken in masks.items()},
                    input=mnist.data[indices].numpy(), target=mnist.targets[indices].numpy())
