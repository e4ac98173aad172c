"""The checks of scripts/gpu_check.sh, which fetches and builds everything first."""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

# In isolated mode Python does not search the script's own folder.
sys.path.insert(0, str(Path(__file__).parent))
from lab_times import Failed, lab_times
from paths import shell_word

CHECKOUT = Path(__file__).resolve().parents[1]
LAST = "MNIST/version_0/checkpoints/last.safetensors"

parser = argparse.ArgumentParser(prog="gpu_check.sh")
for name in "--program", "--tests", "--commit":
    parser.add_argument(name, required=True, help=argparse.SUPPRESS)
parser.add_argument("--data-dir", type=Path, required=True, help=argparse.SUPPRESS)
parser.add_argument("--output-dir", type=Path, required=True)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--rehearse", action="store_true")
args = parser.parse_args()

# One GPU, the same for both sides; Lightning would use all that it sees.
device = "cpu" if args.rehearse else "cuda"
visible = "" if args.rehearse else (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
os.environ["CUDA_VISIBLE_DEVICES"] = visible
# nvidia-smi's numbering.
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
data_dir, output = args.data_dir.resolve(), args.output_dir.resolve()


class CheckFailed(Exception):
    """A check failed; the message says what it found."""


def say(text):
    print(f"gpu_check.sh: {text}", file=sys.stderr, flush=True)


def log(name, *command):
    """Runs a command, appends its output to NAME.log, and returns its exit code and output."""
    done = subprocess.run(list(map(str, command)), cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="surrogateescape")
    with open(output / f"{name}.log", "a", errors="surrogateescape") as file:
        file.write(f"$ {' '.join(map(str, command))}\n{done.stdout}exit code {done.returncode}\n\n")
    return done.returncode, done.stdout


def must(name, *command):
    """Runs a command that must succeed, and returns its output."""
    code, text = log(name, *command)
    if code != 0:
        raise CheckFailed("\n".join(text.strip().splitlines()[-12:] + [f"exit code {code}, see {name}.log"]))
    return text


def train(name, folder, *options, on=None):
    """Runs `train` with CUDA's generator, so that a run on the CPU draws the same numbers as one on the GPU."""
    return must(name, args.program, "train", "--device", on or device, "--generator", "cuda", "--no-progress", "--data-dir",
                data_dir, "--output-dir", output / folder, *options)


def remove(*folders):
    """Removes the folders of a check that passed."""
    for folder in folders:
        shutil.rmtree(output / folder, ignore_errors=True)


# The checks: each returns its text for the report, or raises CheckFailed.


def doctor():
    return must("doctor", args.program, "doctor", "--device", device, "--data-dir", data_dir)


def tests():
    text = must("tests", args.tests, *([] if args.rehearse else ["--ignored", "on_a_gpu"]))
    return "\n".join(line for line in text.splitlines() if line.startswith("test "))


def parity(folder, epochs, *options):
    text = must(folder, CHECKOUT / "scripts/parity.sh", "--device", device, "--data-dir", data_dir, "--output-dir",
                output / folder, "--epochs", epochs, *options)
    remove(f"{folder}/reference", f"{folder}/candidate")
    return text.strip().splitlines()[-1]


def cpu(model):
    """Compares ten steps with the CPU, at a low learning rate: at the usual one, rounding differences grow too fast. The
    batches are so small that every GPU draws the same numbers."""
    name = f"against-cpu-{model}"
    for side, on in ("cpu", "cpu"), ("gpu", device):
        folder = f"{name}/{side}"
        (output / folder).mkdir(parents=True)
        train(name, folder, "--model", model, "--epochs", "1", "--limit-train-batches", "10", "--batch-size", "128", "--lr",
              "0.0001", "--trace", output / folder / "run.trace", "--trace-steps", "0..9", on=on)
    _, text = log(name, args.program, "compare", output / name / "cpu", output / name / "gpu")
    steps = [[json.loads(line) for line in (output / name / side / "run.trace").read_text().splitlines()[1:]]
             for side in ("cpu", "gpu")]
    losses = []
    for ours, theirs in zip(*steps):
        ours, theirs = ({one["name"]: one for one in step["quantities"]} for step in (ours, theirs))
        for exact in "input", "target", "generator.state", "generator.cuda.state":
            if exact in ours and ours[exact]["xxh3"] != theirs[exact]["xxh3"]:
                raise CheckFailed(f"{text}\n{exact} differs, which is not rounding")
        if "loss" in ours:
            losses.append(abs(float(ours["loss"]["mean"]) - float(theirs["loss"]["mean"])))
    remove(name)
    if max(losses) > 1e-3:
        raise CheckFailed(f"{text}\na loss differs by {max(losses):.3g}, which is more than rounding")
    return f"{text}\nlargest difference in a step's loss: {max(losses):.3g}"


def kill_and_resume(model):
    options = ["--epochs", "6", "--model", model, "--name", "MNIST"]
    folder = f"kill-{model}"
    train(folder, f"{folder}/whole", *options)
    command = [args.program, "train", "--device", device, "--generator", "cuda", "--no-progress", "--data-dir", data_dir,
               "--output-dir", output / folder / "killed", *options]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = output / folder / "killed" / LAST
    while not last.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not last.exists():
        raise CheckFailed(f"the run ended with {process.returncode} before its first checkpoint")
    newest = max(last.parent.glob("epoch=*"), key=lambda path: path.stat().st_mtime)
    at = newest.name.split("-")[0]
    must(folder, args.program, "train", "--no-progress", "--resume", output / folder / "killed/MNIST/version_0")
    for file in "metrics.csv", "model.safetensors":
        whole, killed = (output / folder / f"{run}/MNIST/version_0/{file}" for run in ("whole", "killed"))
        if whole.read_bytes() != killed.read_bytes():
            raise CheckFailed(f"killed after {at}, {file} differs from an uninterrupted run's, see {folder}/")
    remove(folder)
    return f"killed after {at} of 6 and resumed: metrics.csv and model.safetensors equal an uninterrupted run's"


class GpuMemory:
    """Peak memory in MiB on the GPU, less the memory in use before; None if nvidia-smi cannot tell."""

    def __enter__(self):
        self.before, self.done = self._used(), threading.Event()
        self.peak = None if self.before is None else 0
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while self.before is not None and not self.done.wait(0.1):
            self.peak = max(self.peak, (self._used() or 0) - self.before)

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    @staticmethod
    def _used():
        try:
            used = nvidia_smi("memory.used")
            return float(used.split()[0])
        except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
            return None


def nvidia_smi(query):
    """Returns nvidia-smi's answer to a query about the GPU that the checks use."""
    return subprocess.run(["nvidia-smi", f"--id={visible}", f"--query-gpu={query}", "--format=csv,noheader,nounits"],
                          check=True, capture_output=True, text=True).stdout.strip()


def speed():
    """Measures both sides alternately, so that other load on the machine affects both alike."""
    epochs = 3
    common = ["--data-dir", str(data_dir), "--epochs", str(epochs), "--output-dir"]
    sides = {
        "program": [args.program, "reproduce", "--device", device, "--generator", "cuda", "--no-progress", *common],
        "notebook": [sys.executable, "-I", "-X", "utf8", str(CHECKOUT / "scripts/notebook.py"), *common],
    }
    measured = {side: [] for side in sides}
    for number in range(args.runs):
        for side, command in sides.items():
            with GpuMemory() as memory:
                try:
                    times = lab_times([*command, str(output / "speed" / f"{side}-{number}")])
                except Failed as error:
                    (output / "speed.log").write_text(error.log)
                    raise CheckFailed(f"{error}, see speed.log") from error
            measured[side].append(times | {"gpu": memory.peak})
    remove("speed")
    quantities = {
        "MLP, s/epoch": lambda run: run["mlp"] / epochs,
        "logistic regression, s/epoch": lambda run: run["mlr"] / epochs,
        "memory on the GPU, MiB": lambda run: run["gpu"],
        "memory of the process, MiB": lambda run: run["memory"],
    }
    rows = []
    for what, value in quantities.items():
        values = [[value(run) for run in measured[side]] for side in sides]
        if None in values[0] + values[1]:
            rows.append([what, "unknown", "unknown", ""])
            continue
        program, notebook = map(statistics.median, values)
        ratio = f"{notebook / program:.2f}" if program else ""
        rows.append([what, f"{program:.4g}", f"{notebook:.4g}", ratio])
    return (f"Medians of {args.runs} runs of each side, alternately.\n\n" +
            table(["what", "program", "notebook", "notebook / program"], rows))


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


CHECKS = {
    "Doctor": doctor,
    "Tests": tests,
    "Same bytes as Python on this device, 2 epochs": lambda: parity("parity", 2, "--trace"),
    f"Same bytes as Python on this device, {args.epochs} epochs, seed 1":
        lambda: parity("parity-long", args.epochs, "--seed", "1"),
    "Against the CPU, MLP": lambda: cpu("mlp"),
    "Against the CPU, logistic regression": lambda: cpu("mlr"),
    "Killed and resumed, MLP": lambda: kill_and_resume("mlp"),
    "Killed and resumed, logistic regression": lambda: kill_and_resume("mlr"),
    "Seconds per epoch and peak memory": speed,
}


def machine():
    """Returns a table of the machine's properties."""
    import torch

    try:
        driver = nvidia_smi("driver_version")
    except (OSError, subprocess.CalledProcessError):
        driver = "unknown"
    # Runs in its own process, so that the GPU's memory is released.
    properties = "import torch; print(torch.cuda.get_device_properties(0) if torch.cuda.is_available() else 'none')"
    gpu = subprocess.run([sys.executable, "-I", "-c", properties], capture_output=True, text=True).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    facts = {
        "GPU": gpu,
        "NVIDIA driver": driver,
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        "CPU": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} CPUs",
        "islp-mnist": args.commit,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    return table(["", ""], facts.items())


def main():
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        say(f"{shell_word(args.output_dir)} is not empty: move an earlier report elsewhere, or name another --output-dir")
        return 2
    report = ["# Check of a GPU" if not args.rehearse else "# Rehearsal on the CPU: this does not test a GPU", machine()]
    all_passed = True
    for title, check in CHECKS.items():
        say(f"{title} ...")
        try:
            verdict, text = "passed", check().strip()
        except CheckFailed as error:
            verdict, text = "FAILED", str(error).strip()
        except Exception:
            # The other checks may still work.
            verdict, text = "COULD NOT BE CHECKED", traceback.format_exc().strip()
        all_passed = all_passed and verdict == "passed"
        say(f"{title}: {verdict}")
        is_table = "| --- |" in text
        report.append(f"## {title}: {verdict}\n\n" + (text if is_table else f"```\n{text}\n```"))
        # Written after each check, because a later one may crash the machine.
        (output / "report.md").write_text("\n\n".join(report) + "\n", errors="surrogateescape")
    say(f"{'all checks passed' if all_passed else 'not all checks passed'}; the report is {shell_word(output / 'report.md')}")
    return 0 if all_passed else 1


sys.exit(main())
