"""Takes five steps from each checkpoint FOLDER/OPTIMIZER/from.safetensors, and saves FOLDER/OPTIMIZER/to.safetensors:
python tests/handed_optimizers.py FOLDER, with the gradients in FOLDER/gradients.safetensors. tests/library/optimizers.rs
takes the steps before and after."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from islp_mnist.checkpoint import load_checkpoint
from islp_mnist.checkpoint.writing import serialize
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from optimizers import OPTIMIZERS

torch.ones(1).sqrt()
folder = Path(sys.argv[1])
gradients = load_file(folder / "gradients.safetensors")
for start_file in folder.glob("*/from.safetensors"):
    module = torch.nn.Linear(37, 11)
    optimizer = OPTIMIZERS[start_file.parent.name](module.parameters())
    checkpoint = load_checkpoint(start_file)
    checkpoint.restore(module, optimizer)
    start = checkpoint.state.global_step
    for step in range(start, start + 5):
        for key, parameter in module.named_parameters():
            parameter.grad = gradients[f"{step}.{key}"]
        optimizer.step()
    state = replace(checkpoint.state, epoch=1, global_step=start + 5)
    (start_file.parent / "to.safetensors").write_bytes(serialize(module, optimizer, state, "{}"))
