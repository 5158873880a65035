"""JSON pointers (RFC 6901). Knows nothing of what they are used for."""

from __future__ import annotations

from typing import Any, Final

MISSING: Final = object()

Pointer = tuple[str, ...]


def parse_pointer(text: str) -> Pointer:
    """Its steps. Raises ValueError for what is none."""
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON pointer, which begins with a slash")
    steps = text.split("/")[1:]
    if any("~" in step.replace("~0", "").replace("~1", "") for step in steps):
        raise ValueError(f"{text!r}: a ~ in a JSON pointer is written ~0, a slash within a name ~1")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def resolve(document: Any, pointer: Pointer) -> Any:
    """What stands there, or MISSING."""
    for step in pointer:
        if isinstance(document, dict):
            document = document.get(step, MISSING)
        elif isinstance(document, list) and step.isdecimal() and len(step) <= 6 and int(step) < len(document):
            document = document[int(step)]
        else:
            return MISSING
    return document
