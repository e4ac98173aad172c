"""The environment of a run for run.json, with the same names as in `islp-mnist`."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Optional

from islp_mnist import __version__
from islp_mnist.machine import machine

CHECKOUT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, Any]:
    """Returns the versions of the program and the properties of the machine."""
    return {
        **machine(),
        "tch": None,
        "python": platform.python_version(),
        "pytorch_lightning": version("pytorch-lightning"),
        "islp": version("ISLP"),
        "islp_mnist": __version__,
        "git_commit": git_commit(),
    }


def git_commit() -> Optional[str]:
    """Returns the checkout's commit, with "-modified" if the Python sources have uncommitted changes, as build.rs does."""

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(CHECKOUT), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    if not (CHECKOUT / ".git").exists():
        return None
    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}-modified" if git("status", "--porcelain", "--", "scripts", "python") else commit
    except (OSError, subprocess.CalledProcessError):
        return None
