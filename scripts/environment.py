"""On what a run is made, as run.json says it, under the names that `islp-mnist` has for it."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Optional

import torch

import parity_checkpoint

CHECKOUT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, Optional[str]]:
    """The program and the machine."""
    return {
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "libtorch": str(torch.__version__),
        "tch": None,
        "python": platform.python_version(),
        "pytorch_lightning": version("pytorch-lightning"),
        "islp": version("ISLP"),
        "islp_mnist": parity_checkpoint.VERSION,
        "git_commit": git_commit(),
    }


def processor() -> Optional[str]:
    """The processor's name, as /proc/cpuinfo has it; None where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def git_commit() -> Optional[str]:
    """The checkout's commit, with "-modified" if the scripts are not as committed; as build.rs."""

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(CHECKOUT), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    if not (CHECKOUT / ".git").exists():
        return None
    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}-modified" if git("status", "--porcelain", "--", "scripts") else commit
    except (OSError, subprocess.CalledProcessError):
        return None
