"""Only the matrix products of an epoch, computed by libtorch for batches of 256. A training step has the forward and
backward products (eight for the MLP, two for logistic regression), repeated 188 times; validation has the forward products,
repeated 47 times. Prints a line for each epoch with the seconds of training and of validation."""

import argparse
import time

import torch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", choices=["mlp", "mlr"], required=True)
parser.add_argument("--epochs", type=int, required=True)
args = parser.parse_args()

BATCH_SIZE, TRAIN_BATCHES, VALID_BATCHES = 256, 188, 47
widths = [784, 256, 128, 10] if args.model == "mlp" else [784, 10]
torch.manual_seed(0)
# For each layer: input, weight, bias, and the gradient of the output.
layers = [(torch.rand(BATCH_SIZE, i), torch.rand(o, i), torch.rand(o), torch.rand(BATCH_SIZE, o))
          for i, o in zip(widths, widths[1:])]


def forward():
    for x, weight, bias, _ in layers:
        torch.addmm(bias, x, weight.t())


def backward():
    for index, (x, weight, _, grad) in reversed(list(enumerate(layers))):
        torch.mm(grad.t(), x)
        # The gradient with respect to the images is not needed.
        if index > 0:
            torch.mm(grad, weight)


with torch.inference_mode():
    for epoch in range(args.epochs):
        start = time.perf_counter()
        for _ in range(TRAIN_BATCHES):
            forward()
            backward()
        train = time.perf_counter()
        for _ in range(VALID_BATCHES):
            forward()
        print(train - start, time.perf_counter() - train)
