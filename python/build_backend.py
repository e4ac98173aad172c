"""Builds the package with maturin, against the torch of the environment that it is installed into.

pip builds in an environment of its own, without torch. This finds the other one's folder: pip runs its Python.
"""

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import maturin

ROOT = Path(__file__).resolve().parent.parent
TORCH_VERSION = next(
    line.removeprefix("torch==").strip() for line in (ROOT / "scripts" / "requirements.txt").read_text().splitlines()
    if line.startswith("torch=="))


def _find_libtorch():
    """Sets the variables with which torch-sys and PyO3 find libtorch and Python."""
    if shutil.which("cargo") is None:
        raise SystemExit("islp_mnist is built by cargo, which is missing: install Rust (https://rustup.rs), or install a wheel")
    if "LIBTORCH" not in os.environ and "LIBTORCH_USE_PYTORCH" not in os.environ:
        torch = Path(sysconfig.get_path("platlib")) / "torch"
        version = torch / "version.py"
        if not version.exists():
            raise SystemExit(f"islp_mnist is linked to torch, which is missing here: pip install torch=={TORCH_VERSION}")
        found = next(line for line in version.read_text().splitlines() if line.startswith("__version__ = "))
        found = found.split("'")[1]
        if found.split("+")[0] != TORCH_VERSION:
            raise SystemExit(f"islp_mnist needs torch {TORCH_VERSION}, and here is {found}: pip install torch=={TORCH_VERSION}")
        os.environ["LIBTORCH"] = str(torch)
    # Not the program's folder, which another libtorch would have cargo build anew.
    os.environ.setdefault("CARGO_TARGET_DIR", str(ROOT / "target" / "wheel"))


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    _find_libtorch()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    _find_libtorch()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    return maturin.build_sdist(sdist_directory, config_settings)


get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
