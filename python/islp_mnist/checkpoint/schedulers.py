"""The state of learning-rate schedulers as JSON."""

import json
import math
from collections import Counter
from typing import Any, Optional

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from islp_mnist.checkpoint.files import shown
from islp_mnist.checkpoint.format import CheckpointError, to_json
from islp_mnist.checkpoint.state import Checkpoint


def scheduler_states(trainer: Trainer) -> Optional[list[Any]]:
    """Returns what TrainerState.lr_schedulers contains."""
    # Some change more of the optimizer's options than the learning rate.
    states = [{"class": type(config.scheduler).__name__, "scheduler": _encoded(config.scheduler.state_dict()),
               "param_groups": [{name: value for name, value in group.items() if name != "params"}
                                for group in config.scheduler.optimizer.param_groups]}
              for config in trainer.lr_scheduler_configs]
    for config, state in zip(trainer.lr_scheduler_configs, states):
        try:
            is_kept = _decoded(json.loads(to_json(state))["scheduler"]) == _lists(config.scheduler.state_dict())
        except (TypeError, ValueError):
            is_kept = False
        if not is_kept:
            raise MisconfigurationException(
                f"the state of {state['class']} is more than numbers and texts, which is all that a checkpoint contains")
    return states or None


def _lists(value: Any) -> Any:
    """Replaces tuples, which JSON lacks, by lists."""
    if isinstance(value, dict):
        return {name: _lists(part) for name, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, (list, tuple)) else value


def _encoded(value: Any) -> Any:
    """Replaces what JSON lacks in a scheduler's state: infinities, and the numbers by which MultiStepLR counts."""
    if isinstance(value, dict):
        if all(isinstance(name, str) for name in value):
            return {name: _encoded(part) for name, part in value.items()}
        return {"pairs": [[_encoded(name), _encoded(part)] for name, part in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_encoded(part) for part in value]
    return str(value) if value in (math.inf, -math.inf) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"pairs"}:
            return Counter({_decoded(name): _decoded(part) for name, part in value["pairs"]})
        return {name: _decoded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return float(value) if value in ("inf", "-inf") else value


def restore_schedulers(trainer: Trainer, checkpoint: Checkpoint):
    states, configs = checkpoint.state.lr_schedulers or [], trainer.lr_scheduler_configs
    theirs, ours = [state["class"] for state in states], [type(config.scheduler).__name__ for config in configs]
    if theirs != ours:
        their_names, our_names = ", ".join(theirs) or "none", ", ".join(ours) or "none"
        raise CheckpointError(
            f"{checkpoint.path}: its learning-rate schedulers are {shown(their_names)}, but the module's {our_names}")
    for config, state in zip(configs, states):
        config.scheduler.load_state_dict(_decoded(state["scheduler"]))
        for group, saved in zip(config.scheduler.optimizer.param_groups, state["param_groups"]):
            # JSON has no tuples, which Adam's betas are.
            group.update((name, tuple(value) if isinstance(value, list) else value) for name, value in saved.items())
