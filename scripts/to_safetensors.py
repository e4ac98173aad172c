"""Turns weights that PyTorch or Lightning saved into a safetensors file, which islp-mnist reads.

    python scripts/to_safetensors.py WEIGHTS.pt|RUN.ckpt OUT.safetensors

For a state_dict saved by torch.save, and for Lightning's checkpoints of a module that keeps its network in `model`, as
ISLP's SimpleModule does. Both are pickles, and a pickle can run any program when it is loaded. This script has PyTorch
refuse whatever is not a tensor or plain data (weights_only=True), but take files that you trust all the same. It needs
torch and safetensors; the reference environment that scripts/test.sh sets up has them.
"""

import argparse
import sys

import torch
from safetensors.torch import save_file

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("weights")
parser.add_argument("out")
args = parser.parse_args()

try:
    state_dict = torch.load(args.weights, map_location="cpu", weights_only=True)
except Exception as error:
    sys.exit(f"error: {args.weights}: not weights saved by torch.save or Lightning: {str(error).splitlines()[0]}")
if isinstance(state_dict, dict) and isinstance(state_dict.get("state_dict"), dict):
    # Lightning's own; the network is one of the module's attributes.
    state_dict = {name.removeprefix("model."): tensor for name, tensor in state_dict["state_dict"].items()}
if not isinstance(state_dict, dict) or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
    sys.exit(f"error: {args.weights}: holds something else than tensors by name; save model.state_dict()")

# safetensors holds no tensor twice: of two names of one tensor, as MNISTModel has them, the first stays.
tensors, seen = {}, set()
for name, tensor in state_dict.items():
    place = tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape
    if place not in seen:
        seen.add(place)
        tensors[name] = tensor.contiguous()
save_file(tensors, args.out)
