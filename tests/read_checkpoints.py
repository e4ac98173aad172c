"""Reads c.safetensors in the working folder repeatedly, as a resumed run would: python tests/read_checkpoints.py.

Each line of stdin is a model, mlp or mlr. Each line of stdout is the file's content for that model, {"Ok": ...}, or the
reason why it is refused, {"Err": ...}. tests/library/bad_input/checkpoints.rs uses it.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from islp_mnist.checkpoint import CheckpointError, load_checkpoint
from torch.optim import RMSprop

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from models import MNIST_MLR, MNISTModel


def content(model):
    """Returns a text that differs if the restored state differs."""
    checkpoint = load_checkpoint("c.safetensors")
    optimizer = RMSprop(model.parameters())
    checkpoint.restore(model, optimizer)
    sha256 = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
    for parameter in model.parameters():
        sha256.update(parameter.detach().numpy().tobytes())
        sha256.update(optimizer.state[parameter]["square_avg"].numpy().tobytes())
    return f"{checkpoint.state} {json.dumps(checkpoint.hyper_parameters)} {sha256.hexdigest()}"


for line in sys.stdin:
    torch.manual_seed(0)
    model = {"mlp": MNISTModel, "mlr": MNIST_MLR}[line.strip()]()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    try:
        answer = {"Ok": content(model)}
    except CheckpointError as error:
        answer = {"Err": str(error)}
        unchanged = all(parameter.equal(was) for parameter, was in zip(model.parameters(), before))
        assert unchanged, "a refused checkpoint must change nothing"
    print(json.dumps(answer), flush=True)
