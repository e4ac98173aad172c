"""Where the four files of MNIST lie, and what is in them, under their usual names or others that they go by, compressed
or not: as `islp-mnist` finds them.

torchvision wants them in ROOT/MNIST/raw under their usual names; `laid_out` makes such a ROOT where they lie otherwise.
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

# As in scripts/setup.sh.
CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# Where they are looked for in a data folder: as torchvision has them first.
FOLDERS = "MNIST/raw", "raw", "."
BLOCK = 1 << 16
# Of an IDX file of three dimensions.
MAX_HEADER = 16
# torchvision could read more, `islp-mnist` can't.
MAX_VALUES = (1 << 32) - 1
HINT = "--data-dir names another folder"


def folder(data_dir: str) -> Path:
    """The folder that the four files lie in: the first of FOLDERS that has all of them under some name, else the first
    that has one, else MNIST/raw."""
    folders = [Path(data_dir, folder) for folder in FOLDERS]
    counts = [sum(_find_in(folder, name) is not None for name in CHECKSUMS) for folder in folders]
    return folders[counts.index(4) if 4 in counts else next((i for i, count in enumerate(counts) if count), 0)]


def find(data_dir: str, name: str) -> Path:
    """One of the four files, by its usual name. Raises Failed where it is not there."""
    where = folder(data_dir)
    if path := _find_in(where, name):
        return path
    path = where / name
    if path.is_dir():
        raise Failed(f"{path}: not a regular file; {HINT}")
    first, second, third = (Path(data_dir, folder) for folder in FOLDERS)
    raise Failed(f"{path}: no such file; it is looked for there, or as {_dotted(name)}, or with .gz after either, in "
                 f"{first}, {second} or {third}; scripts/reproduce.sh fetches MNIST; --data-dir or ISLP_MNIST_DATA_DIR "
                 "names another folder")


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
        # Whatever else is wrong with it, it is meant.
        return True


def _dotted(name: str) -> str:
    """The name that some archives have for it: train-images.idx3-ubyte."""
    return name.replace("-idx", ".idx")


def checksums(data_dir: str) -> dict[str, str]:
    """The SHA-256 of the content of the four files of the data set, by their usual names."""
    sums = {}
    for name in CHECKSUMS:
        sha256 = hashlib.sha256()
        for block in _content(find(data_dir, name)):
            sha256.update(block)
        sums[name] = sha256.hexdigest()
    return dict(sorted(sums.items()))


def data_set(sums: dict[str, str]) -> str:
    """What run.json says of data with these checksums: MNIST, or another data set in its form."""
    return "MNIST" if sums == CHECKSUMS else "other"


def note(data_dir: str, sums: dict[str, str]) -> Optional[str]:
    """What there is to say of data that are in MNIST's form, but not MNIST."""
    differing = [name for name in CHECKSUMS if sums[name] != CHECKSUMS[name]]
    if not differing:
        return None
    if len(differing) == len(CHECKSUMS):
        what = f"{folder(data_dir)}: the data are"
    else:
        what = ", ".join(str(find(data_dir, name)) for name in differing) + ":"
    return f"note: {what} in MNIST's form, but not MNIST's by SHA-256"


@contextlib.contextmanager
def laid_out(data_dir: str) -> Iterator[str]:
    """A folder that has the files as torchvision wants them: `data_dir`, or a temporary one while the context lasts. Where
    one is missing it is `data_dir`, into which torchvision can fetch them."""
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
                    # Not every file system has links.
                    pass
            with open(raw / name, "xb") as copy:
                for block in _content(path):
                    copy.write(block)
        yield root


def _open(path: Path):
    """Opens a file, and no FIFO, which would block the reader, or device, which might never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Failed(f"{path}: not a regular file; {HINT}")
    return open(path, "rb")


def _is_compressed(path: Path) -> bool:
    with _open(path) as file:
        return file.read(2) == b"\x1f\x8b"


def _content(path: Path) -> Iterator[bytes]:
    """What a file holds, block by block, decompressed where it is compressed. Then no more than its header announces: a
    small file can hold more than any disk."""
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
                    raise Failed(f"{path}: holds more than the {announced} bytes that its header announces; {HINT}")
                yield block
                block = file.read(BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Failed(f"{path}: cannot be decompressed: {error}; {HINT}") from error


def _announced(path: Path, start: bytes) -> int:
    """How long a file is according to its header."""
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
