"""What a training in Python needs to be compared with islp-mnist's, and continued by it.

`islp_mnist.checkpoint` saves checkpoints that both sides can resume from, `islp_mnist.trace` records every step of a
training. docs/parity.md and docs/trace.md have more.
"""

# Equals the version in Cargo.toml; tests/program/handover.rs compares the two.
__version__ = "0.2.0"
