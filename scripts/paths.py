"""Paths as text: in run.json, on stdout, in a command line to paste. A path consists of bytes that need not be UTF-8.
src/util/path.rs does the same."""

import os
import shlex
import sys
from typing import Union
from urllib.parse import quote, unquote_to_bytes

PathLike = Union[str, os.PathLike]

# The prefix of a text that encodes a path.
URL = "file://"


def to_text(path: PathLike) -> str:
    """Returns an absolute path for JSON: the path itself, or if it is not UTF-8 a URL such as file:///data/o%FF."""
    data = os.fsencode(os.path.abspath(path))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return URL + quote(data)


def from_text(text: str) -> str:
    """Decodes a path from to_text, or from an earlier version, which wrote bytes that are not UTF-8 as lone surrogates."""
    if text.startswith(URL):
        return os.fsdecode(unquote_to_bytes(text.removeprefix(URL)))
    try:
        return os.fsdecode(text.encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        # A lone surrogate that does not encode a byte; no version wrote such a path.
        return os.fsdecode(text.encode(errors="replace"))


def shell_word(path: PathLike) -> str:
    """Quotes a path for bash, so that it also works as an option's value."""
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
    """Prints a path byte for byte, so that `$(…)` in a script gives exactly that path."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()
