"""Reads ISLP's SimpleDataModule: the tensors of its data sets and the order of its items."""

import sys
from typing import Any

import torch
from ISLP.torch import SimpleDataModule
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision.datasets import KMNIST, MNIST, FashionMNIST
from torchvision.transforms import Compose, ToTensor

from islp_mnist.compiled import _compiled
from islp_mnist.training.unsupported import Unsupported

Selection = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
# Inputs and labels of the data sets read so far: training and validation set are usually parts of one.
Read = dict[Dataset, tuple[torch.Tensor, torch.Tensor]]


def selection(dataset: Dataset, what: str, read: Read) -> Selection:
    """Returns inputs `[N, ...]`, labels `[N]` and the indices of the items that belong to the data set, in its order.

    Raises Unsupported for anything but a TensorDataset, torchvision's MNIST, FashionMNIST and KMNIST, and Subsets of these.
    """
    if type(dataset) is Subset:
        inputs, labels, indices = selection(dataset.dataset, what, read)
        try:
            return inputs, labels, indices[torch.as_tensor(dataset.indices, dtype=torch.int64).reshape(-1)]
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            raise Unsupported(f"{what} is a Subset of items that are not there: {error}") from error
    if dataset not in read:
        read[dataset] = _tensors(dataset, what)
    inputs, labels = read[dataset]
    return inputs, labels, torch.arange(len(labels))


def _tensors(dataset: Dataset, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels of a whole data set."""
    if type(dataset) is TensorDataset:
        if len(dataset.tensors) != 2:
            raise Unsupported(f"{what} is a TensorDataset of {len(dataset.tensors)} tensors, not of inputs and labels")
        inputs, labels = dataset.tensors
    elif type(dataset) in (MNIST, FashionMNIST, KMNIST):
        inputs, labels = _images(dataset, what)
    else:
        raise Unsupported(f"{what} is a {type(dataset).__name__}, whose items only Python knows")
    for tensor, name, dtype in (inputs, "inputs", torch.float32), (labels, "labels", torch.int64):
        if tensor.device.type != "cpu":
            raise Unsupported(f"the {name} of {what} are on {tensor.device}, not on the CPU")
        if tensor.dtype != dtype:
            raise Unsupported(f"the {name} of {what} are {tensor.dtype}, not {dtype}")
        if tensor.layout != torch.strided:
            raise Unsupported(f"the {name} of {what} have the layout {tensor.layout}")
        if tensor.requires_grad:
            raise Unsupported(f"the {name} of {what} require gradients")
    if labels.dim() != 1:
        raise Unsupported(f"the labels of {what} have shape {list(labels.shape)}, not one number for each input")
    return inputs, labels


def _images(dataset: MNIST, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What ToTensor makes of every image."""
    transform = dataset.transform
    if type(transform) is Compose and len(transform.transforms) == 1:
        transform = transform.transforms[0]
    if type(transform) is not ToTensor or dataset.target_transform is not None:
        raise Unsupported(f"{what} has another transform than ToTensor()")
    inputs = dataset.data.to(torch.get_default_dtype()).div(255).unsqueeze(1)
    labels = dataset.targets
    for index in {0, len(labels) // 2, len(labels) - 1} if len(labels) else ():
        image, label = dataset[index]
        if not (torch.equal(image, inputs[index]) and label == int(labels[index])):
            raise Unsupported(f"{what} returns something other than its data")
    return inputs, labels


def data_module(datamodule: Any) -> tuple[Selection, Selection]:
    """Returns the training and the validation data. Raises Unsupported if Rust cannot train with them."""
    if type(datamodule) is not SimpleDataModule:
        raise Unsupported(f"the data come from a {type(datamodule).__name__}, not from ISLP's SimpleDataModule")
    read: Read = {}
    train = selection(datamodule.train_dataset, "the training set", read)
    validation = selection(datamodule.validation_dataset, "the validation set", read)
    for (_, _, indices), what in (train, "the training set"), (validation, "the validation set"):
        if not len(indices):
            raise Unsupported(f"{what} is empty")
    if type(datamodule.batch_size) is not int or not 1 <= datamodule.batch_size <= sys.maxsize:
        raise Unsupported(f"the batch size is {datamodule.batch_size}")
    return train, validation


def to_rust(data: tuple[Selection, Selection], batch_size: int, persistent_workers: bool, generator: Any) -> Any:
    """The compiled part's module of these data. Its loaders draw seeds for workers that do not persist."""
    return _compiled.SimpleDataModule.of(
        *data, num_workers=int(persistent_workers), batch_size=batch_size, generator=generator)
