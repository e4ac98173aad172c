"""The notebook's training in JAX, written for speed: an epoch is one compiled program, a `lax.scan` over the batches
followed by validation; the epoch reuses the parameters' memory. Prints a line for each epoch: the seconds of training and
validation (the first epoch includes compiling), then training loss and accuracy, validation loss and accuracy."""

import argparse
import struct
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", choices=["mlp", "mlr"], required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--data-dir", type=Path, required=True)
parser.add_argument("--generator", choices=["threefry2x32", "rbg"], default="threefry2x32")
args = parser.parse_args()

BATCH_SIZE, LR, ALPHA, EPS = 256, 0.01, 0.99, 1e-8
widths, rates = ([784, 256, 128, 10], [0.4, 0.3]) if args.model == "mlp" else ([784, 10], [])


def read(name):
    content = (args.data_dir / "MNIST/raw" / name).read_bytes()
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def init(key):
    layers = []
    for fan_in, fan_out in zip(widths, widths[1:]):
        key, weight, bias = jax.random.split(key, 3)
        bound = fan_in ** -0.5
        layers.append((jax.random.uniform(weight, (fan_in, fan_out), minval=-bound, maxval=bound),
                       jax.random.uniform(bias, (fan_out,), minval=-bound, maxval=bound)))
    return layers


def forward(layers, x, key=None):
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if index == len(rates):
            return x
        x = jax.nn.relu(x)
        if key is not None:
            keep = 1 - rates[index]
            mask = jax.random.bernoulli(jax.random.fold_in(key, index), keep, x.shape)
            x = jnp.where(mask, x / keep, 0)


def cross_entropy(logits, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def loss_and_logits(layers, x, y, key):
    logits = forward(layers, x, key)
    return cross_entropy(logits, y), logits


def step(layers, square_avg, x, y, key):
    (loss, logits), grads = jax.value_and_grad(loss_and_logits, has_aux=True)(layers, x, y, key)
    square_avg = jax.tree.map(lambda v, g: ALPHA * v + (1 - ALPHA) * g * g, square_avg, grads)
    layers = jax.tree.map(lambda p, v, g: p - LR * g / (jnp.sqrt(v) + EPS), layers, square_avg, grads)
    return (layers, square_avg), (loss * len(y), (logits.argmax(1) == y).sum())


@partial(jax.jit, donate_argnums=(0, 1))
def epoch(layers, square_avg, key, train_images, train_labels, valid_images, valid_labels):
    key, order_key = jax.random.split(key)
    order = jax.random.permutation(order_key, len(train_labels))
    full = len(order) // BATCH_SIZE
    batches, last = order[:full * BATCH_SIZE].reshape(full, BATCH_SIZE), order[full * BATCH_SIZE:]

    def take(state, numbered):
        number, batch = numbered
        return step(*state, train_images[batch], train_labels[batch], jax.random.fold_in(key, number))

    state, sums = jax.lax.scan(take, (layers, square_avg), (jnp.arange(full), batches))
    loss, correct = (values.sum() for values in sums)
    if len(last):
        state, (last_loss, last_correct) = take(state, (full, last))
        loss, correct = loss + last_loss, correct + last_correct
    logits = forward(state[0], valid_images)
    valid = cross_entropy(logits, valid_labels), (logits.argmax(1) == valid_labels).mean()
    return *state, (loss / len(order), correct / len(order), *valid)


images = read("train-images-idx3-ubyte").reshape(60000, 784).astype(np.float32) / 255
labels = read("train-labels-idx1-ubyte").astype(np.int32)
key, split_key, init_key = jax.random.split(jax.random.key(0, impl=args.generator), 3)
train, valid = np.split(np.asarray(jax.random.permutation(split_key, 60000)), [48000])
data = jax.device_put([images[train], labels[train], images[valid], labels[valid]])
layers = init(init_key)
square_avg = jax.tree.map(jnp.zeros_like, layers)
for number in range(args.epochs):
    start = time.perf_counter()
    layers, square_avg, metrics = epoch(layers, square_avg, jax.random.fold_in(key, number), *data)
    metrics = [metric.item() for metric in metrics]
    print(time.perf_counter() - start, *metrics)
