"""Converts weights that PyTorch or Lightning saved to a safetensors file; scripts/parity_checkpoint.py runs it.

The inputs are pickles, which can run any code when loaded. PyTorch is told to refuse everything but tensors and plain data
(weights_only=True), but convert only files that you trust.
"""

import argparse
import sys

import safetensors.torch
import torch

from islp_mnist.checkpoint.files import PathLike, shown, write_file
from islp_mnist.names import unwrapped


def _fail(message: str):
    sys.exit(shown(f"error: {message}"))


def to_safetensors(weights: PathLike, out: PathLike):
    """Converts a file of torch.save or Lightning to a safetensors file.

    The file is a state_dict or a Lightning checkpoint. Removes a wrapper's prefix, such as the `model.` of ISLP's
    SimpleModule, if all names begin with it. Exits with a line on stderr if the file contains anything else.
    """
    try:
        state_dict = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:
        _fail(f"{weights}: not weights saved by torch.save or Lightning: {str(error).splitlines()[0]}")
    if isinstance(state_dict, dict) and isinstance(state_dict.get("state_dict"), dict):
        # A Lightning checkpoint.
        state_dict = state_dict["state_dict"]
    if not isinstance(state_dict, dict) or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state_dict.items()):
        _fail(f"{weights}: contains something other than tensors by name; save model.state_dict()")

    # safetensors refuses shared tensors. If a tensor has two names, as in MNISTModel, the first stays.
    tensors, seen = {}, set()
    for name, tensor in unwrapped(state_dict).items():
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride(),
                 tensor.dtype)
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            tensors[name] = tensor.contiguous()
    write_file(out, safetensors.torch.save(tensors))


def main():
    parser = argparse.ArgumentParser(
        description="Converts weights that PyTorch or Lightning saved to a safetensors file. Such files are pickles: "
        "convert only those that you trust.")
    parser.add_argument("weights", metavar="WEIGHTS.pt|RUN.ckpt")
    parser.add_argument("out", metavar="OUT.safetensors")
    args = parser.parse_args()
    try:
        to_safetensors(args.weights, args.out)
    except OSError as error:
        _fail(f"cannot write {args.out}: {error.strerror}")
