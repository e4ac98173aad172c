"""Writes a trace without PyTorch, as a port to another library or language would. docs/trace.md describes the file.

This needs numpy and xxhash. trace_numpy.py and trace_jax.py use it.
"""

import base64
import json

import numpy as np
import xxhash

HEADER = '{"trace":2,"written_by":"examples/trace_writer.py"}\n'


def sketch(values):
    places = np.arange(values.size, dtype=np.uint32)
    for shift, factor in (16, 0x85EBCA6B), (13, 0xC2B2AE35):
        places = (places ^ places >> shift) * np.uint32(factor)
    signs = 1.0 - 2.0 * ((places ^ places >> 16) >> 31)
    padded = np.zeros(-(-values.size // 16) * 16)
    padded[:values.size] = values.ravel() * signs
    return padded.reshape(-1, 16).sum(axis=0)


def number(value):
    # JSON lacks NaN and the infinities.
    return float(value) if np.isfinite(value) else str(value)


def quantity(name, values):
    values = np.asarray(values)
    return {"name": name, "kind": values.dtype.name, "shape": values.shape,
            "xxh3": xxhash.xxh3_64_hexdigest(values.tobytes()),
            "min": number(values.min()), "max": number(values.max()), "mean": number(values.mean()),
            "sketch": base64.b64encode(sketch(values).tobytes()).decode()}


def write_step(file, model, step, before, quantities):
    line = {"fit": 0, "model": model, "epoch": 0, "step": step,
            "before": [quantity(*named) for named in before.items()],
            "quantities": [quantity(*named) for named in quantities.items()]}
    file.write(json.dumps(line) + "\n")
