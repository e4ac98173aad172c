"""The names of a model's tensors without what wraps the model.

`_orig_mod.` is torch.compile's, `module.` DistributedDataParallel's, and `model.` that of a LightningModule with the
network in `model`, as ISLP's SimpleModule has it. One may wrap the other. src/torch/state_dict.rs has the same rule.
"""

from typing import Any, Iterable

WRAPPERS = "_orig_mod.", "module.", "model."


class OneName(ValueError):
    """Two names that become one. The message names both."""


def wrapper(names: Iterable[str]) -> str:
    """What wrappers have put before each of the parameters' names; nothing if one lacks it."""
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
    """What has these names, by its names without what wraps the model. No two become one: all lose the same beginning."""
    start = len(wrapper(tensors))
    return {name[start:]: tensor for name, tensor in tensors.items()}


def by_one_name(named: Iterable[tuple[str, str, Any]]) -> dict[str, Any]:
    """Of new names, the names so far, and what has them: what has them by the new names.

    Raises OneName where two names become one.
    """
    written, tensors = {}, {}
    for new, name, tensor in named:
        if new in tensors:
            raise OneName(f"{written[new]} and {name} are one name, {new}, without what wraps the model")
        written[new], tensors[new] = name, tensor
    return tensors
