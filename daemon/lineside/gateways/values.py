"""What was found in a message, as a report's field has it. Knows nothing of where it was found."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from typing import Any

import msgspec

from lineside.gateways.source import Written, shown
from lineside.gateways.times import parsed, rfc3339

MAX_LINES = 20
LARGEST = 1e300
INTEGERS = frozenset({"alarm.bit", "alarm.sev", "alarm.count", "deadline_ms"})
TIMES = frozenset({"ts", "alarm.since"})


def value_of(name: str, written: Written, value: Any, zone: tzinfo | None) -> Any:
    """What was found for the field of that name, as the report has it. Raises ValueError."""
    if name in TIMES:
        return rfc3339(value, zone, written.format)
    if name == "log":
        lines = value if isinstance(value, list) else [value]
        return [_text(line) for line in lines[-MAX_LINES:]]
    if name in INTEGERS:
        return _integer(value)
    text = _text(value)
    if written.digits:
        if not text.isdecimal():
            raise ValueError(f"is {text[:60]!r}, which has no digits to fill up to {written.digits}")
        text = text.zfill(written.digits)
    return written.prefix + text


def check_options(name: str, written: Written) -> None:
    """Raises ValueError for what a field of that name cannot have, or can never be."""
    if written.format and name not in TIMES:
        raise ValueError("`format` goes with times")
    if written.format:
        parsed(datetime(2000, 1, 2, tzinfo=timezone.utc).strftime(written.format), written.format)
    if (written.prefix or written.digits) and (name in INTEGERS or name in TIMES or name == "log"):
        raise ValueError("`prefix` and `digits` go with texts")
    for value in (*(() if written.const is None else (written.const,)), *(written.map or {}).values()):
        value_of(name, written, value, timezone.utc)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        kind = "true or false" if isinstance(value, bool) else "an array or an object"
        raise ValueError(f"is {kind}, where a text or a number is needed")  # noqa: TRY004 - data, not code
    return shown(value)


def _integer(value: Any) -> int:
    number = number_of(value)
    if number is None or not float(number).is_integer():
        raise ValueError(f"is {shown(value)[:60]!r}, where a whole number is needed")
    return int(number)


def number_of(value: Any) -> float | None:
    """A number, also one that came as text; None for anything else."""
    if isinstance(value, str):
        try:
            value = msgspec.convert(value, float, strict=False)
        except msgspec.ValidationError:
            return None
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST
    return value if fits else None
