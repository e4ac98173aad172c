"""Paths as text: in run.json, on stdout, in a command line to paste. A path is bytes, and need not be UTF-8; src/util/path.rs
does the same."""

import os
import shlex
import sys
from typing import Union
from urllib.parse import quote, unquote_to_bytes

PathLike = Union[str, os.PathLike]

# How a text begins that is not the path itself.
URL = "file://"


def to_text(path: PathLike) -> str:
    """A path from the root as JSON has it: itself, or where it is not UTF-8 a URL such as file:///data/o%FF."""
    data = os.fsencode(os.path.abspath(path))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return URL + quote(data)


def from_text(text: str) -> str:
    """The path that to_text has written, or an earlier version, which had what is not UTF-8 as lone surrogates."""
    if text.startswith(URL):
        return os.fsdecode(unquote_to_bytes(text.removeprefix(URL)))
    try:
        return os.fsdecode(text.encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        # A lone surrogate that is no byte; nobody wrote such a path.
        return os.fsdecode(text.encode(errors="replace"))


def shell_word(path: PathLike) -> str:
    """A path as one types it in bash, behind an option too."""
    text = os.fspath(path)
    text = f"./{text}" if text.startswith("-") else text
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_spelt(character) for character in text) + "'"


def _spelt(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    return character if character.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def print_path(path: PathLike):
    """Prints a path, byte for byte, so that `$(…)` in a script is that path whatever its name."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()
