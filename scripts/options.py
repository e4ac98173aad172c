"""The options of scripts/train.py and scripts/notebook.py, with the names and rules of `islp-mnist`."""

import argparse
import json
import re
from typing import Any, Callable, Iterable, Optional

# The options that determine a run's results, in run.json's order; the defaults are the notebook's values.
DEFAULTS = {
    "model": "mlp",
    "epochs": 30,
    "batch_size": 256,
    "validation": 0.2,
    "seed": 0,
    "num_workers": 4,
    "lr": 0.01,
    "threads": None,
    "device": "auto",
    "generator": "auto",
    "limit_train_batches": None,
    "vary": None,
    "checkpoint_every": 1,
    "checkpoint_every_n_steps": None,
    "name": None,
}
# The options that `--resume` may change: they affect when the run ends and which files it leaves, not its results.
CHANGEABLE = ["--epochs", "--checkpoint-every", "--checkpoint-every-n-steps"]


class Failed(Exception):
    """Ends the program with a one-line message. The exit code is 2 if the options are at fault, 3 if the loss becomes NaN or
    infinite, and 1 for anything else."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise Failed(message, 2)


def _whole(least: int, most: int, rule: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} {rule}")
        return int(text)

    return parse


def _number(is_valid: Callable[[float], bool], rule: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        is_number = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
        if not is_number or not is_valid(float(text)):
            raise argparse.ArgumentTypeError(f"{text!r} {rule}")
        return float(text)

    return parse


def _limit_train_batches(text: str) -> int | float:
    rule = "must be a whole number, 1 or more, or a fraction with a decimal point, up to 1.0"
    if re.fullmatch(r"[0-9]+", text):
        return _whole(1, 2**63 - 1, rule)(text)
    return _number(lambda fraction: 0 < fraction <= 1, rule)(text)


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,3}))?", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be auto, cpu, cuda or cuda:N")
    return text


def _name(text: str) -> str:
    if not text or text.startswith(".") or "/" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a folder name that neither begins with '.' nor contains '/' or control characters")
    return text


def _max_time(text: str) -> float:
    seconds = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"([0-9]+)(ms|[smhdw])\s*", text)
    if not parts or not re.fullmatch(r"([0-9]+(ms|[smhdw])\s*)+", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a time such as 90s, 10m or '1h 30m'")
    return sum(float(number) * seconds[unit] for number, unit in parts)


def _trace_steps(text: str) -> range:
    found = re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", text)
    if not found or int(found[1]) > int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} must be two steps, such as 130..140")
    return range(int(found[1]), int(found[2]) + 1)


def _name_pattern(text: str) -> str:
    if not text or text.count("*") > 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name, with one * at most")
    return text


def add_trace_options(parser: argparse.ArgumentParser):
    """Adds `--trace` and the options that need it, which `check_trace_options` checks."""
    add = parser.add_argument
    add("--trace", metavar="FILE", default=None,
        help="record every training step in this new file, for `islp-mnist compare`")
    add("--trace-steps", metavar="FROM..TO", type=_trace_steps, default=range(0), help="also record the tensors of "
        "these steps, such as 130..140; steps count from 0, and the last one is included")
    add("--trace-skip", metavar="NAME", type=_name_pattern, action="append", default=[], help="leave out quantities with "
        "this name, such as 'forward.*', where * stands for any text; may be given several times")
    add("--trace-output-gradients", action="store_true", default=False, help="also record the gradients of the layers' "
        "outputs")


def check_trace_options(parser: argparse.ArgumentParser, args: argparse.Namespace):
    for name in "trace_steps", "trace_skip", "trace_output_gradients":
        if getattr(args, name) and args.trace is None:
            parser.error(f"{flag(name)} needs --trace")


def add_options(parser: argparse.ArgumentParser, names: Iterable[str] = tuple(DEFAULTS)):
    """Adds these of the options of DEFAULTS."""
    flags = [flag(name) for name in names]

    def add(option: str, **rules: Any):
        if option in flags:
            parser.add_argument(option, **rules)

    at_least_one = _whole(1, 2**63 - 1, "must be a whole number, 1 or more")
    add("--model", choices=["mlp", "mlr"], help="the multilayer perceptron, MNISTModel, or multinomial logistic "
        "regression, MNIST_MLR [default: mlp]")
    add("--epochs", type=at_least_one, help="passes over the training images [default: 30]")
    add("--batch-size", type=at_least_one, help="images in a training step [default: 256]")
    fraction = _number(lambda value: 0 < value < 1, "must be a fraction above 0 and below 1, such as 0.2")
    add("--validation", type=fraction,
        help="fraction of the training images held out for validation [default: 0.2]")
    add("--seed", type=_whole(0, 2**64 - 1, f"must be a whole number from 0 to {2**64 - 1}"),
        help="seed of everything random except the split [default: 0]")
    add("--num-workers", type=_whole(0, 2**64 - 1, "must be a whole number, 0 or more"),
        help="workers of the data loaders [default: 4]")
    # The parameters are f32, and RMSprop fails if the rate exceeds their range.
    rate = _number(lambda lr: 0 <= lr <= 3.4028234663852886e38, "must be a number from 0 to 3.4e38, such as 0.01")
    add("--lr", type=rate, help="learning rate of RMSprop [default: 0.01]")
    add("--threads", type=_whole(1, 1024, "must be a whole number from 1 to 1024"),
        help="threads of libtorch [default: one per physical core]")
    add("--device", type=_device, help="device to train on: auto, cpu, cuda or cuda:N; auto uses a GPU if torch can "
        "[default: auto]")
    add("--generator", choices=["auto", "cpu", "cuda"], help="generator that dropout draws from; here only the "
        "device's, which is auto [default: auto]")
    add("--limit-train-batches", metavar="N|FRACTION", type=_limit_train_batches,
        help="training batches per epoch: a number, or a fraction with a decimal point [default: all]")
    add("--vary", metavar="SOURCE=SEED", help="only for islp-mnist train, because PyTorch draws everything from one stream")
    add("--checkpoint-every", metavar="EPOCHS", type=at_least_one,
        help="save a checkpoint every EPOCHS epochs; the best one and the last are always saved [default: 1]")
    add("--checkpoint-every-n-steps", metavar="N", type=at_least_one, help="also save a checkpoint every N steps, within an "
        "epoch; a run that is killed then loses at most N steps [default: none]")
    add("--name", type=_name, help="name of the run's folder in OUTPUT_DIR [default: MNIST or MNIST_MLR, by the model]")


def parse_args(words: Iterable[str], description: str) -> argparse.Namespace:
    """Parses the command line; options of DEFAULTS that are not given are absent. Raises Failed if one is wrong."""
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
                     argument_default=argparse.SUPPRESS)
    add_options(parser)
    add = parser.add_argument
    add("--data-dir", metavar="DIR", default=None,
        help="folder with MNIST's four files: in MNIST/raw/, as torchvision lays them out, in raw/ or in the folder "
        "itself [default: ISLP_MNIST_DATA_DIR, or the folder that a resumed run used, or data]")
    add("--output-dir", metavar="DIR", help="folder for the run's files [default: output]")
    add("--resume", metavar="VERSION_DIR", default=None, help="resume the run in this folder, from either side, "
        "after its last checkpoint; only --epochs and the checkpoint options may change")
    add("--from", metavar="RUN_JSON", default=None, help="take all options that are not given from this run.json")
    add("--max-time", metavar="TIME", type=_max_time, default=None,
        help="stop after the epoch in which TIME elapses, such as 90s, 10m or '1h 30m' [default: no limit]")
    add_trace_options(parser)
    add("--no-progress", action="store_true", default=False,
        help="print a line per epoch instead of a progress bar, as when stderr is not a terminal")
    add("--quiet", action="store_true", default=False,
        help="print only warnings and errors: no progress bar, no line per epoch, no model summary")
    try:
        args = parser.parse_args(list(words))
        # A run.json may contain it.
        if getattr(args, "device", "auto") == "mps":
            parser.error("argument --device: 'mps' must be auto, cpu, cuda or cuda:N")
        check_trace_options(parser, args)
        if args.resume is not None:
            for other in "from", "output_dir", "name":
                if getattr(args, other, None) is not None:
                    parser.error(f"{flag(other)} cannot be used with --resume")
    except Failed as error:
        raise Failed(f"{error}; try '--help'", 2) from None
    return args


def given(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of DEFAULTS that were given on the command line."""
    return {name: value for name, value in vars(args).items() if name in DEFAULTS}


def from_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the options in run.json's format, checked by the rules of the command line. Raises Failed if one is wrong."""
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    add_options(parser)
    # Files without the option are older than it; those runs drew from the CPU's generator.
    fields = {"generator": "cpu"} | fields
    parsed = vars(parser.parse_args([f"{flag(name)}={value}" for name, value in fields.items() if value is not None]))
    for name, value in DEFAULTS.items():
        # A default here could differ from the run's option.
        if value is not None and name not in parsed:
            raise Failed(f"lacks {flag(name)}")
    return DEFAULTS | parsed


def differences(options: dict[str, Any], others: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Returns the differing options as typed on the command line: flag, our value, theirs."""
    # Compared as text, because 1 batch differs from 1.0, all batches.
    texts = [(name, _text(options[name]), _text(others[name])) for name in DEFAULTS]
    return [(flag(name), ours, theirs) for name, ours, theirs in texts
            if _canonical(name, ours) != _canonical(name, theirs)]


def _canonical(name: str, text: str) -> str:
    return "cuda:0" if (name, text) == ("device", "cuda") else text


def unchangeable(options: dict[str, Any], others: dict[str, Any]) -> Optional[tuple[str, str, str]]:
    """Returns the first differing option that must not differ: flag, our value, theirs."""
    return next((found for found in differences(options, others) if found[0] not in CHANGEABLE), None)


def flag(name: str) -> str:
    """Returns the option's flag on the command line."""
    return "--" + name.replace("_", "-")


def _text(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
