"""Finds and reads the four files of MNIST as `islp-mnist` does, under their usual or other common names, compressed or not.

torchvision requires them in ROOT/MNIST/raw under their usual names; `laid_out` creates such a ROOT if they have another
layout.
"""

import contextlib
import gzip
import hashlib
import os
import stat
import tempfile
import zlib
from pathlib import Path
from typing import Iterator, Optional

from options import Failed

# The same as in scripts/setup.sh.
CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# The folders within a data folder that are searched, torchvision's first.
FOLDERS = "MNIST/raw", "raw", "."
BLOCK = 1 << 16
# The header of an IDX file with three dimensions.
MAX_HEADER = 16
# torchvision could read more; `islp-mnist` cannot.
MAX_VALUES = (1 << 32) - 1
HINT = "choose another folder with --data-dir"


def folder(data_dir: str) -> Path:
    """Returns the folder of the four files: the first of FOLDERS that has all of them under some name, otherwise the first
    that has one, otherwise MNIST/raw."""
    folders = [Path(data_dir, folder) for folder in FOLDERS]
    counts = [sum(_find_in(folder, name) is not None for name in CHECKSUMS) for folder in folders]
    return folders[counts.index(4) if 4 in counts else next((i for i, count in enumerate(counts) if count), 0)]


def find(data_dir: str, name: str) -> Path:
    """Returns the path of one of the four files, given its usual name. Raises Failed if it is missing."""
    where = folder(data_dir)
    if path := _find_in(where, name):
        return path
    path = where / name
    if path.is_dir():
        raise Failed(f"{path}: not a regular file; {HINT}")
    first, second, third = (Path(data_dir, folder) for folder in FOLDERS)
    raise Failed(f"{path}: no such file; it may also be named {_dotted(name)}, with or without .gz, and be in "
                 f"{first}, {second} or {third}; scripts/reproduce.sh fetches MNIST; "
                 f"{HINT} or ISLP_MNIST_DATA_DIR")


def _find_in(where: Path, name: str) -> Optional[Path]:
    plain = [name, _dotted(name)]
    names = plain + [name + ".gz" for name in plain]
    return next((path for path in (within / name for within in [where] + [where / name for name in plain]
                                   for name in names) if _is_there(path)), None)


def _is_there(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # Any other error concerns this file, so the caller reports it.
        return True


def _dotted(name: str) -> str:
    """Returns the name in some archives, such as train-images.idx3-ubyte."""
    return name.replace("-idx", ".idx")


def checksums(data_dir: str) -> dict[str, str]:
    """Returns the SHA-256 of the content of the data set's four files, by their usual names."""
    sums = {}
    for name in CHECKSUMS:
        sha256 = hashlib.sha256()
        for block in _content(find(data_dir, name)):
            sha256.update(block)
        sums[name] = sha256.hexdigest()
    return dict(sorted(sums.items()))


def data_set(sums: dict[str, str]) -> str:
    """Returns run.json's `data_set` for these checksums: MNIST, or another data set in the same format."""
    return "MNIST" if sums == CHECKSUMS else "other"


def note(data_dir: str, sums: dict[str, str]) -> Optional[str]:
    """Returns a note for data that have MNIST's format but are not MNIST."""
    differing = [name for name in CHECKSUMS if sums[name] != CHECKSUMS[name]]
    if not differing:
        return None
    if len(differing) == len(CHECKSUMS):
        what = f"{folder(data_dir)}: the data are"
    else:
        what = ", ".join(str(find(data_dir, name)) for name in differing) + ":"
    return f"note: {what} in MNIST's format, but the SHA-256 is not MNIST's"


@contextlib.contextmanager
def laid_out(data_dir: str) -> Iterator[str]:
    """Yields a folder with torchvision's layout: `data_dir`, or a temporary folder for the duration of the context. If a file
    is missing it is `data_dir`, so that torchvision can fetch the files into it."""
    if any(_find_in(folder(data_dir), name) is None for name in CHECKSUMS):
        yield data_dir
        return
    paths = {name: find(data_dir, name) for name in CHECKSUMS}
    if all(path == Path(data_dir, FOLDERS[0], name) and not _is_compressed(path) for name, path in paths.items()):
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="islp-mnist-") as root:
        raw = Path(root, FOLDERS[0])
        raw.mkdir(parents=True)
        for name, path in paths.items():
            if not _is_compressed(path):
                try:
                    (raw / name).symlink_to(os.path.abspath(path))
                    continue
                except OSError:
                    # Some file systems have no links.
                    pass
            with open(raw / name, "xb") as copy:
                for block in _content(path):
                    copy.write(block)
        yield root


def _open(path: Path):
    """Opens a regular file. A FIFO would block the reader, and a device might never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Failed(f"{path}: not a regular file; {HINT}")
    return open(path, "rb")


def _is_compressed(path: Path) -> bool:
    with _open(path) as file:
        return file.read(2) == b"\x1f\x8b"


def _content(path: Path) -> Iterator[bytes]:
    """Yields a file's content block by block, decompressed if necessary. Decompresses no more than the header announces,
    because a small file can expand to more than any disk."""
    if not _is_compressed(path):
        with _open(path) as file:
            yield from iter(lambda: file.read(BLOCK), b"")
        return
    try:
        with _open(path) as compressed, gzip.open(compressed) as file:
            block = file.read(MAX_HEADER)
            announced = _announced(path, block)
            length = 0
            while block:
                length += len(block)
                if length > announced:
                    raise Failed(f"{path}: contains more than the {announced} bytes that its header announces; {HINT}")
                yield block
                block = file.read(BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Failed(f"{path}: cannot be decompressed: {error}; {HINT}") from error


def _announced(path: Path, start: bytes) -> int:
    """Returns a file's length according to its header."""
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(start[:4], 0)
    length = 4 * (1 + dimensions)
    if dimensions == 0 or len(start) < length:
        raise Failed(f"{path}: what is compressed in it is no IDX file of images or labels; {HINT}")
    values = 1
    for place in range(4, length, 4):
        values *= int.from_bytes(start[place:place + 4], "big")
    if values > MAX_VALUES:
        raise Failed(f"{path}: {values} values, more than {MAX_VALUES}; {HINT}")
    return length + values
