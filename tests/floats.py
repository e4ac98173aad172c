"""Prints 100,000 floats as their f32 bits and as Python writes them: half of any magnitude, half in the range of metrics."""

import random
import struct

random.seed(0)
for i in range(100_000):
    bits = random.getrandbits(32)
    if i % 2:
        bits = struct.unpack("<I", struct.pack("<f", random.uniform(0, 10 ** random.randint(-6, 6))))[0]
    print(bits, struct.unpack("<f", struct.pack("<I", bits))[0])
