"""TOML from files, bounded: size, depth, and no NUL character. Knows nothing of what the keys mean."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from lineside.plain_files import read_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_PART = rb"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
# The parser's time grows with the square of a dotted key's parts, so what is too deep does not reach it.
_DEEP_KEY = re.compile(rb"(?:^|[\[{,])[ \t]*(?:" + _PART + rb"){%d}" % MAX_DEPTH, re.MULTILINE)


class TomlError(ValueError):
    """Content that is no TOML, or beyond the bounds."""


def read_toml(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """What the file holds. Raises TomlError; OSError for a file that cannot be read, or that is too large."""
    return parse_toml(read_plain(path, max_bytes))


def parse_toml(content: bytes) -> dict[str, Any]:
    """Raises TomlError, which says where."""
    if _DEEP_KEY.search(content):
        raise TomlError(_TOO_DEEP)
    try:
        found = tomllib.loads(content.decode())
    except RecursionError:
        raise TomlError(_TOO_DEEP) from None
    except ValueError as error:  # also UnicodeDecodeError, and a number of more digits than Python takes
        raise TomlError(str(error)) from error
    _check(found)
    return found


def _check(found: dict[str, Any]) -> None:
    """Raises TomlError for what lies too deep, and for a NUL character in a key or a text."""
    waiting: list[tuple[str, Any, int]] = [("", found, 0)]
    while waiting:
        where, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise TomlError(_TOO_DEEP)
        if isinstance(value, dict):
            waiting += [(f"{where}.{key}" if where else key, one, depth + 1) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{where}[{index}]", one, depth + 1) for index, one in enumerate(value)]
        if "\0" in where or (isinstance(value, str) and "\0" in value):
            raise TomlError(f"{where!r} has a NUL character")
