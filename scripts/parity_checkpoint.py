"""Converts weights that PyTorch or Lightning saved to a safetensors file for islp-mnist:

    python scripts/parity_checkpoint.py WEIGHTS.pt|RUN.ckpt OUT.safetensors

python/islp_mnist/checkpoint/convert.py does it.
"""

from islp_mnist.checkpoint.convert import main

if __name__ == "__main__":
    main()
