"""One measured quantity and how fresh it is. Knows nothing of where values come from or what they are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["ok", "stale", "missing"]

STALE_NS = 1_000_000_000
MAX_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its state: `ok`, `stale` (too old to act on) or `missing` (there never was one)."""

    name: str
    value: float | None
    state: State
    detail: str = ""

    @property
    def usable(self) -> float | None:
        """The value where it may be acted on."""
        return self.value if self.state == "ok" else None


@dataclass(slots=True)
class Probe:
    """Reads one quantity again and again. A failing read is a state: it never raises.

    `read` returns the value in the probe's own unit, or raises OSError or ValueError.
    """

    name: str
    read: Callable[[], float]
    _value: float | None = field(default=None, init=False)
    _at_ns: int = field(default=0, init=False)

    def sample(self, now_ns: int) -> Reading:
        """Read. A single failure within a second of a good read is bridged by that."""
        try:
            self._value, self._at_ns = self.read(), now_ns
        except (OSError, ValueError) as error:
            return self._failed(now_ns, getattr(error, "strerror", None) or str(error))
        return Reading(self.name, self._value, "ok")

    def _failed(self, now_ns: int, why: str) -> Reading:
        if self._value is None:
            return Reading(self.name, None, "missing", why)
        if now_ns - self._at_ns <= STALE_NS:
            return Reading(self.name, self._value, "ok", why)
        return Reading(self.name, self._value, "stale", why)


def read_text(path: Path) -> str:
    """A small file of the kernel's, stripped; at most 4 KiB of it."""
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode(errors="replace").strip("\0\n\t ")


def read_number(path: Path, scale: float = 1.0) -> float:
    """A file that holds one integer, times `scale`. Raises OSError or ValueError."""
    return int(read_text(path)) * scale


def text_or(path: Path, default: str = "") -> str:
    """What the file says, or `default` where it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return default
