"""Trains with NumPy alone and writes a trace, as a port to another library or language would.

    python examples/trace_numpy.py float32 numpy.trace

docs/trace.md describes the file. This needs numpy and xxhash.
"""

import base64
import json
import sys

import numpy as np
import xxhash


def sketch(values):
    places = np.arange(values.size, dtype=np.uint32)
    for shift, factor in (16, 0x85EBCA6B), (13, 0xC2B2AE35):
        places = (places ^ places >> shift) * np.uint32(factor)
    signs = 1.0 - 2.0 * ((places ^ places >> 16) >> 31)
    padded = np.zeros(-(-values.size // 16) * 16)
    padded[:values.size] = values.ravel() * signs
    return padded.reshape(-1, 16).sum(axis=0)


def quantity(name, values):
    values = np.asarray(values)
    return {"name": name, "kind": values.dtype.name, "shape": values.shape,
            "xxh3": xxhash.xxh3_64_hexdigest(values.tobytes()),
            "min": float(values.min()), "max": float(values.max()), "mean": float(values.mean()),
            "sketch": base64.b64encode(sketch(values).tobytes()).decode()}


def write_step(file, step, before, quantities):
    line = {"fit": 0, "model": "Line", "epoch": 0, "step": step,
            "before": [quantity(*named) for named in before.items()],
            "quantities": [quantity(*named) for named in quantities.items()]}
    file.write(json.dumps(line) + "\n")


dtype, path = sys.argv[1:]
inputs = np.linspace(-1, 1, 64, dtype=dtype).reshape(32, 2)
targets = (3 * inputs[:, 0] - inputs[:, 1] + 0.5).astype(dtype)
weights = {"weight": np.zeros(2, dtype), "bias": np.zeros((), dtype)}
with open(path, "x") as file:
    file.write('{"trace":2,"written_by":"examples/trace_numpy.py"}\n')
    before = dict(weights)
    for step in range(8):
        outputs = inputs @ weights["weight"] + weights["bias"]
        errors = outputs - targets
        gradients = {"weight": 2 * errors @ inputs / 32, "bias": 2 * errors.mean()}
        for name in weights:
            weights[name] = weights[name] - np.asarray(0.1, dtype) * gradients[name]
        write_step(file, step, before, {
            "input": inputs, "target": targets, "logits": outputs, "loss": np.square(errors).mean(),
            "grad.bias": gradients["bias"], "grad.weight": gradients["weight"], **weights})
        before = {}
