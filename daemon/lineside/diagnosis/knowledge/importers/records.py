"""From one row's or document's fields to an Entry, every problem named. Knows nothing of files."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.entry import LANGUAGES, PLANT_SOURCE, Entry
from lineside.diagnosis.knowledge.firmware import ranges_of
from lineside.diagnosis.knowledge.importers.columns import SEVERITIES, TEXT_FIELDS
from lineside.diagnosis.knowledge.importers.problems import Problem

_BREAK = re.compile(r"\s*(?:<br\s*/?>|[\r\n]+|[;；]|•)\s*", re.IGNORECASE)
_BULLET = re.compile(r"^[-–*·●▪]\s+")
_NAMES = ("vendor", "model", "unit", "firmware", "manual")


@dataclass(frozen=True, slots=True)
class Raw:
    """An entry as its file has it. Values are strings, or lists of strings for causes, actions and safety."""

    where: str
    fields: Mapping[str, Any]
    texts: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {})


def entry_of(raw: Raw, problems: list[Problem]) -> Entry | None:
    """The entry, or None with what is wrong added to `problems`."""
    before = len(problems)
    code = _string(raw, "code", raw.fields.get("code"), problems)
    if not code_keys(code):
        problems.append(Problem(raw.where, "code", "is empty" if not code else f"`{code}` is no code"))
    texts = {language: _text(raw, language, problems) for language in LANGUAGES}
    if not any(texts.values()):
        problems.append(Problem(raw.where, "title", "is empty in every language"))
    document: dict[str, Any] = {
        "code": code,
        "source": _string(raw, "source", raw.fields.get("source"), problems),
        "severity": _severity(raw, problems),
        **{name: _string(raw, name, raw.fields.get(name), problems) for name in _NAMES},
        **{language: text for language, text in texts.items() if text},
    }
    if document["source"] == PLANT_SOURCE:
        problems.append(Problem(raw.where, "source", f"`{PLANT_SOURCE}` is kept for the plant's own entries"))
    try:
        ranges_of(document["firmware"])
    except ValueError:
        message = f"`{document['firmware']}` is no range"
        problems.append(Problem(raw.where, "firmware", message, "write it as `>=2.1 <3`, `2.1-2.8` or `2.x`"))
    if len(problems) > before:
        return None
    try:
        return msgspec.convert(document, Entry)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        problems.append(Problem(raw.where, path.rstrip("`"), message))
        return None


def items(value: str) -> list[str]:
    """A cell's statements: lines, semicolons, bullets, a list numbered 1. 2. 3. in a line or several."""
    found: list[str] = []
    number = 1
    for line in _BREAK.split(value):
        parts, number = _numbered(_BULLET.sub("", line).strip(), number)
        found.extend(part for part in parts if part)
    return found


def _numbered(line: str, number: int) -> tuple[list[str], int]:
    """A line's statements, where it begins with that number of a list or with 1; the next number."""
    for begin in (number, 1):
        if found := _marker(begin).match(line):
            break
    else:
        return [line], number
    parts: list[str] = []
    end = found.end()
    # Consecutive numbers only, so that 2.5 kW or a second `1.` splits nothing.
    while following := _marker(begin + len(parts) + 1).search(line, end):
        parts.append(line[end : following.start()].strip())
        end = following.end()
    parts.append(line[end:].strip())
    return parts, begin + len(parts)


@functools.lru_cache(maxsize=128)
def _marker(number: int) -> re.Pattern[str]:
    return re.compile(rf"(?<![\d.]){number}\s*[.、．)）](?!\d)\s*")


def _text(raw: Raw, language: str, problems: list[Problem]) -> dict[str, Any] | None:
    given = raw.texts.get(language, {})
    text: dict[str, Any] = {}
    for name in TEXT_FIELDS:
        where = f"{language}.{name}"
        if name in ("title", "meaning"):
            text[name] = " ".join(_string(raw, where, given.get(name), problems).split())
        else:
            text[name] = _list(raw, where, given.get(name), problems)
    if not text["title"]:
        if any(text.values()):
            problems.append(Problem(raw.where, f"{language}.title", "is empty, and the entry has other text"))
        return None
    return text


def _string(raw: Raw, name: str, value: Any, problems: list[Problem]) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        problems.append(Problem(raw.where, name, f"is no text but {type(value).__name__}"))
        return ""
    return str(value).strip()


def _list(raw: Raw, name: str, value: Any, problems: list[Problem]) -> list[str]:
    if not isinstance(value, (list, tuple)):
        return items(_string(raw, name, value, problems))
    strings = [_string(raw, name, item, problems) for item in value]
    return [string for string in strings if string]


def _severity(raw: Raw, problems: list[Problem]) -> str | None:
    """One of ours, or its usual names. A vendor's own numbers say nothing until somebody maps them."""
    value = _string(raw, "severity", raw.fields.get("severity"), problems).casefold()
    if not is_severity(value):
        known = "critical, high, medium, low"
        problems.append(Problem(raw.where, "severity", f"`{value}` is not one of {known}"))
    return SEVERITIES.get(value)


def is_severity(value: str) -> bool:
    """Whether it is a level or a usual name of one, a number or nothing."""
    plain = value.strip().casefold()
    return not plain or plain.lstrip("-").isdigit() or plain in SEVERITIES
