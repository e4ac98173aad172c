"""Files that are read with a limit and replaced atomically, as src/util/file.rs does."""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Union

TEMPORARY = ".tmp-"
PathLike = Union[str, os.PathLike]


def read_file(path: PathLike, limit: int) -> bytes:
    """Returns the bytes of a regular file of at most `limit` bytes. A FIFO would block, a device might never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(path, "rb") as file:
        # read() allocates this size before it reads the first byte.
        data = file.read(min(status.st_size, limit) + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes long", str(path))
    return data


def write_file(path: PathLike, data: bytes):
    """Replaces a file atomically: at any moment a reader finds either all old bytes or all new ones."""

    def make(temporary: Path):
        # The umask decides, as for any other new file.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    _replace(Path(path), make)


def link(path: Path, target: str, data: bytes):
    """Points the link at `path` to `target`, a file with these bytes in the same folder. If the file system has no links,
    as vfat, SMB, or Google Drive in Colab, writes the bytes to `path` itself."""
    try:
        _replace(path, lambda temporary: os.symlink(target, temporary))
    except OSError:
        # If a file cannot be written either, write_file raises the error.
        write_file(path, data)


def _replace(path: Path, make):
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(6)}"
    try:
        try:
            make(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        # The error names `path`, not the temporary file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _sync_folder(path: Path):
    try:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # CIFS, vboxsf and 9p cannot synchronize folders, and the file is complete anyway. These errors report lost data.
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise


def remove_temporaries(folder: Path):
    """Removes the temporary files of a killed process. No other process may be writing there."""
    for path in folder.iterdir():
        if path.name.startswith(TEMPORARY):
            path.unlink()


def shown(text: str) -> str:
    """Returns a text that is safe for a terminal: control characters from a file are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
