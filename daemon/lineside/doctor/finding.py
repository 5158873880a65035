"""What a check says. Knows nothing of how it found out, nor of who reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

State = Literal["ok", "note", "warning", "problem", "not_applicable", "unknown"]
Value = int | float | str | bool

FINE, WARNINGS, PROBLEMS = 0, 1, 2
MAX_SEEN = 400


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `name` is stable; `values` are what was measured, by stable names."""

    name: str
    state: State
    seen: str
    todo: str = ""
    values: dict[str, Value] = {}


def finding(name: str, state: State, seen: str, todo: str = "", **values: Value) -> Finding:
    """A finding whose text is bounded and of one line: files and programs may say anything."""
    line = " ".join("".join(character if character.isprintable() else " " for character in seen).split())
    return Finding(name, state, line[:MAX_SEEN], todo, values)


def worst(findings: Iterable[Finding]) -> State:
    """The state of the whole: ok, warning or problem. What could not be seen makes nothing worse."""
    states = {found.state for found in findings}
    return next((state for state in ("problem", "warning") if state in states), "ok")


def exit_status(findings: Iterable[Finding]) -> int:
    """For scripts."""
    return {"problem": PROBLEMS, "warning": WARNINGS}.get(worst(findings), FINE)
