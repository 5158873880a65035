"""TOML as the bundle's manifest needs it: strings, numbers, booleans, lists, tables. Knows no schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

_Value = str | int | float | bool


def to_toml(table: Mapping[str, object]) -> str:
    """Serialise nested mappings; None is left out, a sequence of mappings becomes an array of tables."""
    return "\n".join(_lines(table, "")).lstrip("\n") + "\n"


def _lines(table: Mapping[str, object], path: str) -> list[str]:
    lines: list[str] = []
    tables: list[str] = []
    for key, value in table.items():
        name = _key(key)
        here = f"{path}.{name}" if path else name
        if value is None:
            continue
        if isinstance(value, Mapping):
            tables += ["", f"[{here}]", *_lines(value, here)]
        elif _is_tables(value):
            for item in value:  # type: ignore[attr-defined]  # _is_tables
                tables += ["", f"[[{here}]]", *_lines(item, here)]
        else:
            lines.append(f"{name} = {_value(value)}")
    return lines + tables


def _is_tables(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Mapping)


def _key(key: str) -> str:
    bare = key and all(
        character.isascii() and (character.isalnum() or character in "-_") for character in key
    )
    return key if bare else _value(key)


def _value(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"TOML has no {type(value).__name__} here")
