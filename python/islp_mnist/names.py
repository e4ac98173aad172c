"""The names of a model's tensors without a wrapper's prefix.

torch.compile adds `_orig_mod.`, DistributedDataParallel `module.`, and a LightningModule with the network in `model`, such
as ISLP's SimpleModule, `model.`. Wrappers can be nested. src/torch/state_dict.rs has the same rule.
"""

from typing import Any, Iterable

WRAPPERS = "_orig_mod.", "module.", "model."


class OneName(ValueError):
    """Two names become equal without the prefix. The message contains both."""


def wrapper(names: Iterable[str]) -> str:
    """Returns the wrappers' prefix of the parameters' names; empty if a name lacks it."""
    names, prefix = list(names), ""
    while names:
        longer = [prefix + wrapper for wrapper in WRAPPERS]
        found = [wrapped for wrapped in longer
                 if all(name.startswith(wrapped) and name != wrapped for name in names)]
        if not found:
            break
        prefix = found[0]
    return prefix


def unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    """Returns `tensors` by their names without the wrappers' prefix. Names stay distinct: all lose the same prefix."""
    start = len(wrapper(tensors))
    return {name[start:]: tensor for name, tensor in tensors.items()}


def by_one_name(named: Iterable[tuple[str, str, Any]]) -> dict[str, Any]:
    """Builds a dictionary from tuples of new name, old name and value.

    Raises OneName if two new names are equal.
    """
    written: dict[str, str] = {}
    tensors: dict[str, Any] = {}
    for new, name, tensor in named:
        if new in tensors:
            raise OneName(f"{written[new]} and {name} both become {new} without the wrapper's prefix")
        written[new], tensors[new] = name, tensor
    return tensors
