"""What Rust does not train."""


class Unsupported(Exception):
    """Something of a training that the Rust library does not know. The message is a clause that names it."""

    # As users import it.
    __module__ = "islp_mnist"
