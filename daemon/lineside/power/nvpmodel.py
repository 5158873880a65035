"""nvpmodel's table of power modes, and which of them can be taken without a reboot. Runs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lineside.errors import LinesideError
from lineside.power.readings import text_or

TABLE = "etc/nvpmodel.conf"
STATUS = "var/lib/nvpmodel/status"
MAX_TABLE_BYTES = 1_048_576

_SECTION = re.compile(r"<\s*(\w+)((?:\s+\w+=[^\s>]+)*)\s*>")
_ATTRIBUTE = re.compile(r"(\w+)=([^\s>]+)")
_PMODE = re.compile(r"pmode:(?:fmode:)?(\d+)")


@dataclass(frozen=True, slots=True)
class Mode:
    """A power mode. `masks`: the power-gating masks, which only a reboot changes."""

    id: int
    name: str
    gpu_max_hz: int | None = None
    masks: dict[str, str] = field(default_factory=dict)

    def reboot_reason(self, current: Mode) -> str:
        """Why changing here from `current` needs a reboot; empty where it needs none."""
        for mask in sorted(set(self.masks) | set(current.masks)):
            if self.masks.get(mask) != current.masks.get(mask):
                now, then = current.masks.get(mask, "unset"), self.masks.get(mask, "unset")
                return f"mode {self.name} has another {mask} ({then}) than {current.name} ({now})"
        return ""


@dataclass(frozen=True, slots=True)
class Modes:
    """The board's modes in the file's order, and the one that it boots with."""

    modes: tuple[Mode, ...]
    default_id: int | None = None

    def find(self, wanted: str) -> Mode:
        """A mode by its name or its ID. Raises LinesideError, naming those that exist."""
        for mode in self.modes:
            if wanted.upper() == mode.name.upper() or wanted == str(mode.id):
                return mode
        known = ", ".join(f"{mode.name} ({mode.id})" for mode in self.modes) or "none"
        hint = f"this board has: {known}"
        raise LinesideError("set power mode", f"mode: there is no mode {wanted!r}", hint)

    def by_id(self, mode_id: int) -> Mode | None:
        """A mode by its ID: the list's position means nothing, IDs may have gaps."""
        return next((mode for mode in self.modes if mode.id == mode_id), None)

    def choose(self, wanted: str, current_id: int | None) -> Mode:
        """The wanted mode, where it can be taken at once. Raises LinesideError with the reason."""
        mode = self.find(wanted)
        current = None if current_id is None else self.by_id(current_id)
        if current is None:
            hint = "see what nvpmodel -q says"
            raise LinesideError("set power mode", "mode: the board's present mode is not known", hint)
        if reason := mode.reboot_reason(current):
            hint = f"as root: nvpmodel -m {mode.id}, which reboots the board"
            raise LinesideError("set power mode", f"mode: {reason}: that needs a reboot", hint)
        return mode


def read_modes(root: Path) -> Modes:
    """The board's table; empty where there is none."""
    path = root / TABLE
    try:
        with path.open("r", encoding="utf-8", errors="replace") as file:
            return parse_modes(file.read(MAX_TABLE_BYTES))
    except OSError:
        return Modes(())


def parse_modes(text: str) -> Modes:
    """What stands inside POWER_MODEL sections; the others only say which files the entries mean."""
    modes: list[Mode] = []
    inside: Mode | None = None
    default_id = None
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if section := _SECTION.match(line):
            attributes = dict(_ATTRIBUTE.findall(section[2]))
            inside = None
            if section[1] == "POWER_MODEL" and attributes.get("ID", "").isdigit():
                inside = Mode(int(attributes["ID"]), attributes.get("NAME", ""))
                modes.append(inside)
            elif section[1] == "PM_CONFIG" and attributes.get("DEFAULT", "").isdigit():
                default_id = int(attributes["DEFAULT"])
        elif inside is not None:
            modes[-1] = inside = _with_entry(inside, line.split())
    return Modes(tuple(modes), default_id)


def current_mode_id(root: Path) -> int | None:
    """The mode as nvpmodel last recorded it; None where it did not."""
    found = _PMODE.search(text_or(root / STATUS))
    return int(found[1]) if found else None


def _with_entry(mode: Mode, words: list[str]) -> Mode:
    """`GPU MAX_FREQ 612000000`, `TPC_POWER_GATING TPC_PG_MASK 240`; -1 stands for no cap."""
    if len(words) != 3:
        return mode
    device, parameter, value = words
    if "MASK" in parameter:
        return Mode(mode.id, mode.name, mode.gpu_max_hz, {**mode.masks, parameter: value})
    if device == "GPU" and parameter == "MAX_FREQ" and value.isdigit():
        return Mode(mode.id, mode.name, int(value), mode.masks)
    return mode
