"""Takes the steps of examples/trace_torch.py in JAX, and writes a trace of its own.

    python examples/trace_jax.py feed.npz jax.trace

This needs jax and xxhash. Weights are [in, out] here; the trace contains them as in PyTorch, [out, in], so that `compare` can
tell how far apart they are.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from trace_writer import HEADER, write_step

LR, ALPHA, EPS = 0.01, 0.99, 1e-8
# By their places in PyTorch's nn.Sequential, with the rates of the dropout that follows.
LINEAR, RATES = ["1", "4", "7"], [0.4, 0.3]
feed_file, trace_file = sys.argv[1:]
feed = np.load(feed_file)


def forward(layers, x, masks):
    """Returns the outputs of all layers by name."""
    outputs = {"0": x}
    for place, mask, rate in zip(LINEAR, [*masks, None], [*RATES, None]):
        weight, bias = layers[place]
        outputs[place] = x = x @ weight + bias
        if mask is not None:
            outputs[str(int(place) + 1)] = x = jax.nn.relu(x)
            outputs[str(int(place) + 2)] = x = x * (mask / (1 - rate))
    return outputs


def loss_and_outputs(layers, x, y, masks):
    outputs = forward(layers, x, masks)
    loss = -jnp.take_along_axis(jax.nn.log_softmax(outputs["7"]), y[:, None], 1).mean()
    return loss, outputs


@jax.jit
def take_step(layers, square_avg, x, y, masks):
    (loss, outputs), grads = jax.value_and_grad(loss_and_outputs, has_aux=True)(layers, x, y, masks)
    square_avg = jax.tree.map(lambda v, g: ALPHA * v + (1 - ALPHA) * g * g, square_avg, grads)
    layers = jax.tree.map(lambda p, v, g: p - LR * g / (jnp.sqrt(v) + EPS), layers, square_avg, grads)
    return layers, square_avg, loss, outputs, grads


def named(prefix, layers):
    """Returns weights and biases by PyTorch's names and in its layout."""
    tensors = {}
    for place, (weight, bias) in layers.items():
        tensors[f"{prefix}{place}.weight"] = np.ascontiguousarray(np.asarray(weight).T)
        tensors[f"{prefix}{place}.bias"] = bias
    return tensors


layers = {place: (jnp.asarray(feed[f"{place}.weight.start"].T), jnp.asarray(feed[f"{place}.bias.start"])) for place in LINEAR}
square_avg = jax.tree.map(jnp.zeros_like, layers)
images, labels, *masks = (feed[name] for name in ["input", "target", "3.mask", "6.mask"])
with open(trace_file, "x") as file:
    file.write(HEADER)
    before = named("", layers)
    for step, (x, y) in enumerate(zip(images, labels)):
        x = (x / np.float32(255)).astype(np.float32)
        layers, square_avg, loss, outputs, grads = take_step(
            layers, square_avg, x.reshape(len(x), 784), y, [mask[step] for mask in masks])
        write_step(file, "Sequential", step, before, {
            "input": x, "target": y, **{f"forward.{name}": output for name, output in outputs.items()},
            "logits": outputs["7"], "loss": loss,
            **dict(reversed(named("grad.", grads).items())),
            **named("optimizer.square_avg.", square_avg), **named("", layers)})
        before = {}
