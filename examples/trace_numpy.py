"""Trains with NumPy alone and writes a trace.

    python examples/trace_numpy.py float32 numpy.trace
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from trace_writer import HEADER, write_step

dtype, path = sys.argv[1:]
inputs = np.linspace(-1, 1, 64, dtype=dtype).reshape(32, 2)
targets = (3 * inputs[:, 0] - inputs[:, 1] + 0.5).astype(dtype)
weights = {"weight": np.zeros(2, dtype), "bias": np.zeros((), dtype)}
with open(path, "x") as file:
    file.write(HEADER)
    before = dict(weights)
    for step in range(8):
        outputs = inputs @ weights["weight"] + weights["bias"]
        errors = outputs - targets
        gradients = {"weight": 2 * errors @ inputs / 32, "bias": 2 * errors.mean()}
        for name in weights:
            weights[name] = weights[name] - np.asarray(0.1, dtype) * gradients[name]
        write_step(file, "Line", step, before, {
            "input": inputs, "target": targets, "logits": outputs, "loss": np.square(errors).mean(),
            "grad.bias": gradients["bias"], "grad.weight": gradients["weight"], **weights})
        before = {}
