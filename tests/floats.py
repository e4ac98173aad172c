"""Prints 100,000 floats, as the bits of the f32 and as Python writes it: of all magnitudes, and such as metrics are."""

import random
import struct

random.seed(0)
for i in range(100_000):
    bits = random.getrandbits(32)
    if i % 2:
        bits = struct.unpack("<I", struct.pack("<f", random.uniform(0, 10 ** random.randint(-6, 6))))[0]
    print(bits, struct.unpack("<f", struct.pack("<I", bits))[0])
