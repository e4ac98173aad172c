"""python tests/generator_state.py STATE NEW_STATE: draws a thousand numbers from a saved state of torch's generator.

Prints the bits of the first and the last, and saves the generator's final state.
"""

import sys
from pathlib import Path

import torch

state, new_state = map(Path, sys.argv[1:])
generator = torch.Generator()
generator.set_state(torch.frombuffer(bytearray(state.read_bytes()), dtype=torch.uint8))
values = torch.empty(1000).uniform_(generator=generator).view(torch.int32)
print(values[0].item(), values[-1].item())
new_state.write_bytes(generator.get_state().numpy().tobytes())
