"""The notebook's training without Lightning and DataLoader, written by hand for speed: all images are in one tensor, a
batch is one indexing operation, and no value is read back before the end of an epoch. With --compile, forward, backward and
optimizer use torch.compile. Prints a line for each epoch: the seconds of training and validation (with --compile the first
epoch includes compiling), then training loss and accuracy, validation loss and accuracy."""

import argparse
import time

import torch
from torch import nn
from torchvision.datasets import MNIST

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", choices=["mlp", "mlr"], required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--data-dir", required=True)
parser.add_argument("--compile", action="store_true")
args = parser.parse_args()

BATCH_SIZE = 256
torch.manual_seed(0)
mnist = MNIST(root=args.data_dir, train=True)
images = mnist.data.flatten(1).float().div_(255)
train, valid = torch.randperm(60000).split([48000, 12000])
train_images, train_labels = images[train], mnist.targets[train]
valid_images, valid_labels = images[valid], mnist.targets[valid]

if args.model == "mlp":
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.4),
                          nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3),
                          nn.Linear(128, 10))
else:
    model = nn.Linear(784, 10)
cross_entropy = nn.CrossEntropyLoss()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)


def forward(x, y):
    logits = model(x)
    return cross_entropy(logits, y), logits


step = optimizer.step
if args.compile:
    # The last batch is smaller and gets its own compiled program, instead of one for batches of any size.
    forward, step = torch.compile(forward, dynamic=False), torch.compile(step)

for epoch in range(args.epochs):
    start = time.perf_counter()
    model.train()
    train_loss, train_correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    for batch in torch.randperm(len(train)).split(BATCH_SIZE):
        x, y = train_images[batch], train_labels[batch]
        loss, logits = forward(x, y)
        optimizer.zero_grad()
        loss.backward()
        step()
        with torch.no_grad():
            train_loss += loss * len(batch)
            train_correct += (logits.argmax(1) == y).sum()

    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(x) for x in valid_images.split(BATCH_SIZE)])
        valid_loss = cross_entropy(logits, valid_labels).item()
        valid_accuracy = (logits.argmax(1) == valid_labels).float().mean().item()
    train_loss, train_accuracy = train_loss.item() / len(train), train_correct.item() / len(train)
    print(time.perf_counter() - start, train_loss, train_accuracy, valid_loss, valid_accuracy)
