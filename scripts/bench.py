"""The measurements of scripts/bench.sh, which fetches and builds everything first."""

import argparse
import atexit
import contextlib
import csv
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# In isolated mode Python does not search the script's own folder.
sys.path.insert(0, str(Path(__file__).parent))
import mnist_files
from bench_figure import draw
from lab_times import Failed, lab_times
from paths import shell_word

parser = argparse.ArgumentParser(prog="bench.sh")
parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
parser.add_argument("--jax", required=True, help=argparse.SUPPRESS)
parser.add_argument("--data-dir", type=Path, required=True, help=argparse.SUPPRESS)
parser.add_argument("--output-dir", type=Path, required=True)
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--quick", action="store_true")
parser.add_argument("--peers", action="store_true")
args = parser.parse_args()
if args.quick:
    args.runs = args.epochs = 1
if args.runs < 1 or args.epochs < 1:
    parser.error("--runs and --epochs must be 1 or more")
# The measured programs need torchvision's layout of the files.
laid_out = contextlib.ExitStack()
atexit.register(laid_out.close)
args.data_dir = Path(laid_out.enter_context(mnist_files.laid_out(str(args.data_dir))))

SCRIPTS = Path(__file__).parent
MODELS = {"mlp": "MLP", "mlr": "logistic regression"}
# Epochs of the runs whose memory is compared.
SHORT, LONG = 3, 6 if args.quick else 300
# The interpreter of each peer, then its script and the options that select it.
PEERS = {
    "hand-written, torch.compile": (sys.executable, "hand_written.py", "--compile"),
    "JAX, threefry": (args.jax, "jax_loop.py", "--generator", "threefry2x32"),
    "JAX, rbg": (args.jax, "jax_loop.py", "--generator", "rbg"),
}
JOB = 30
# Epochs whose time is compared, and how many before and after each make its mean.
EARLY, LATE, AROUND = (1, 2, 1) if args.quick else (10, 90, 5)
FRACTIONS = {"1/8": 1 / 8, "1": 1, "2": 2} if args.quick else {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "1": 1, "4": 4}


def say(text):
    print(f"bench.sh: {text}", file=sys.stderr, flush=True)


def fail(command, stderr):
    sys.exit(f"bench.sh: {' '.join(map(str, command))} failed: {stderr.strip().splitlines()[-1:]}")


def script(name, *options, python=sys.executable):
    return [python, "-I", "-X", "utf8", str(SCRIPTS / name), *map(str, options)]


def lab(side, folder, data_dir, epochs):
    """Returns the command that runs the whole lab on one of the two sides."""
    command = [args.program, "reproduce", "--device", "cpu"] if side == "program" else script("notebook.py")
    return [*command, "--data-dir", str(data_dir), "--output-dir", str(folder), "--epochs", str(epochs)]


def run_lab(side, data_dir, epochs):
    """Returns `lab_times` of a run, with `fit` in seconds per epoch."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            times = lab_times(lab(side, folder, data_dir, epochs))
        except Failed as error:
            sys.exit(f"bench.sh: {error}")
    return times | {model: times[model] / epochs for model in MODELS}


def run_script(name, model, epochs, *options):
    """Returns the means over epochs of the numbers that a script prints for each epoch."""
    _, output = timed(script(name, "--model", model, "--epochs", epochs, *options))
    return [statistics.fmean(numbers) for numbers in zip(*numbers_of(output))]


def timed(command):
    """Returns the seconds from start to exit and the output of a command. torch.compile has no cache from earlier runs."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
        start = time.perf_counter()
        process = subprocess.run(command, capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - start
    if process.returncode != 0:
        fail(command, process.stderr)
    return seconds, process.stdout


def numbers_of(output):
    return [[float(number) for number in line.split()] for line in output.splitlines()]


def peak_memory_of_all(command):
    """Returns the peak memory in MiB of a process and its workers together; shared memory counts once."""
    def children(pid):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield child
                yield from children(child)

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        kilobytes = 0
        try:
            for pid in [process.pid, *children(process.pid)]:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kilobytes += int(rollup.split("\nPss:")[1].split()[0])
        except (OSError, IndexError):
            pass  # A process ended in the meantime, so this sum is too small; the next one counts.
        peak = max(peak, kilobytes)
        time.sleep(0.1)
    if process.returncode != 0:
        fail(command, "")
    return peak / 1024


def part_of_the_data(folder, fraction):
    """Writes MNIST with `fraction` times the training images: the first ones, or all of them repeatedly."""
    raw = args.data_dir / "MNIST/raw"
    new = Path(folder, "MNIST/raw")
    new.mkdir(parents=True)
    for name in "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte":
        (new / name).symlink_to((raw / name).resolve())
    for name, header, size in ("train-images-idx3-ubyte", 16, 784), ("train-labels-idx1-ubyte", 8, 1):
        content = (raw / name).read_bytes()
        count = int((len(content) - header) // size * fraction)
        values = content[header:] * max(1, int(fraction))
        start = content[:4] + struct.pack(">I", count) + content[8:header]
        (new / name).write_bytes(start + values[:count * size])


# The values of the rounds by (measurement, what, unit), in the table's order.
measured = {}


def record(measurement, what, unit, value):
    measured.setdefault((measurement, what, unit), []).append(value)


def rounds():
    for number in range(1, args.runs + 1):
        for side in "program", "notebook":
            lab_run = run_lab(side, args.data_dir, args.epochs)
            for model, name in MODELS.items():
                record(f"{name}, fit", side, "s/epoch", lab_run[model])
            record("whole lab", side, "s", lab_run["reproduce"])
            record("start to first step", side, "s", lab_run["start"])
            if side == "program":
                record("peak memory", side, "MiB", lab_run["memory"])
            say(f"round {number} of {args.runs}, {side}: " +
                ", ".join(f"{model} {lab_run[model]:.3f} s/epoch" for model in MODELS))
        for model, name in MODELS.items():
            hand_written = run_script("hand_written.py", model, args.epochs, "--data-dir", args.data_dir)
            train, valid = run_script("products.py", model, args.epochs)
            record(f"{name}, fit", "hand-written loop", "s/epoch", hand_written[0])
            record(f"{name}, fit", "products of training", "s/epoch", train)
            record(f"{name}, fit", "products, validation's too", "s/epoch", train + valid)
            say(f"round {number} of {args.runs}, {model}: hand-written {hand_written[0]:.3f} s/epoch, "
                f"products {train:.3f}, with validation's {train + valid:.3f}")


def peers():
    """Measures the peers' time for an epoch, and for the first epoch, in which they compile, separately."""
    for number in range(1, args.runs + 1):
        for model, name in MODELS.items():
            for peer, (python, file, *options) in PEERS.items():
                command = script(file, "--model", model, "--epochs", args.epochs + 1, "--data-dir", args.data_dir,
                                 *options, python=python)
                (first, *_), *epochs = numbers_of(timed(command)[1])
                seconds = statistics.fmean(epoch[0] for epoch in epochs)
                record(f"{name}, fit", peer, "s/epoch", seconds)
                record(f"{name}, first epoch, with compiling", peer, "s", first)
                say(f"round {number} of {args.runs}, {model}, {peer}: {seconds:.3f} s/epoch, first epoch {first:.1f} s")


def jobs():
    """Measures the whole job of training the MLP, from start to exit."""
    for number in range(1, args.runs + 1):
        for what in "program", "hand-written loop", *PEERS:
            options = ["--model", "mlp", "--epochs", str(JOB), "--data-dir", str(args.data_dir)]
            with tempfile.TemporaryDirectory() as folder:
                if what == "program":
                    command = [args.program, "train", "--device", "cpu", "--output-dir", folder, *options]
                else:
                    python, file, *own = PEERS.get(what, (sys.executable, "hand_written.py"))
                    command = script(file, *options, *own, python=python)
                seconds, _ = timed(command)
            record(f"MLP, {JOB} epochs from start to exit", what, "s", seconds)
            say(f"round {number} of {args.runs}, {JOB} epochs from start to exit, {what}: {seconds:.1f} s")


def linearity():
    with tempfile.TemporaryDirectory() as folder:
        for name, fraction in FRACTIONS.items():
            part_of_the_data(Path(folder, name.replace("/", "_")), fraction)
        for number in range(1, args.runs + 1):
            for name, fraction in FRACTIONS.items():
                # About the same number of steps for each fraction.
                epochs = max(1, round(args.epochs / fraction))
                lab_run = run_lab("program", Path(folder, name.replace("/", "_")), epochs)
                record("MLP, fit", f"{name} of the images", "s/epoch", lab_run["mlp"])
            say(f"round {number} of {args.runs}, parts of the data")
        for epochs in SHORT, LONG:
            memory = run_lab("program", Path(folder, "1_8"), epochs)["memory"]
            record("peak memory", f"{epochs} epochs, 1/8 of the images", "MiB", memory)


def late_epochs():
    """Measures epochs of one run around EARLY and as many around LATE, by the times when metrics.csv was written."""
    for model, name in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [args.program, "train", "--device", "cpu", "--data-dir", str(args.data_dir), "--output-dir", folder,
                       "--model", model, "--epochs", str(LATE + AROUND + 2)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ends = []
            while process.poll() is None:
                for file in Path(folder).glob("*/version_0/metrics.csv"):
                    written = file.stat().st_mtime
                    if written not in ends[-1:]:
                        ends.append(written)
                time.sleep(0.005)
        if process.returncode != 0:
            fail(command, "")
        for epoch in EARLY, LATE:
            seconds = (ends[epoch + AROUND] - ends[epoch - AROUND]) / (2 * AROUND)
            record(f"{name}, fit", f"epochs around {epoch}", "s/epoch", seconds)


def rows():
    median = {key[:2]: statistics.median(values) for key, values in measured.items()}
    for (measurement, what, unit), values in measured.items():
        base, ratio, of = median.get((measurement, "program")), None, ""
        if what.startswith("products"):
            ratio, of = base / median[measurement, what], "program / products"
        elif what in ("notebook", "hand-written loop", *PEERS) and base:
            ratio, of = median[measurement, what] / base, f"{what} / program"
        elif what.endswith("of the images") and unit == "s/epoch":
            fraction = FRACTIONS[what.split()[0]]
            ratio, of = median[measurement, what] / fraction / median[measurement, "1 of the images"], "per image"
        elif what == f"epochs around {LATE}":
            ratio, of = median[measurement, what] / median[measurement, f"epochs around {EARLY}"], f"to {EARLY}"
        elif what.startswith(f"{LONG} epochs"):
            short = what.replace(str(LONG), str(SHORT), 1)
            ratio, of = median[measurement, what] / median[measurement, short], f"to {SHORT} epochs"
        yield measurement, what, unit, min(values), statistics.median(values), max(values), ratio, of


def number(value):
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


rounds()
if args.peers:
    peers()
    jobs()
linearity()
late_epochs()
for side in "program", "notebook":
    with tempfile.TemporaryDirectory() as folder:
        memory = peak_memory_of_all(lab(side, folder, args.data_dir, 1))
        record("peak memory, workers included", side, "MiB", memory)

args.output_dir.mkdir(parents=True, exist_ok=True)
header = ["measurement", "what", "unit", "minimum", "median", "maximum", "ratio", "ratio of"]
with open(args.output_dir / "benchmark.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows(rows())
draw([dict(zip(header, row)) for row in rows()], args.output_dir / "benchmark.png")
print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
for *texts, minimum, middle, maximum, ratio, of in rows():
    print(f"| {' | '.join([*texts, *map(number, (minimum, middle, maximum, ratio)), of])} |")
say(f"written to {shell_word(args.output_dir)}: benchmark.csv, benchmark.png")
