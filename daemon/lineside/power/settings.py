"""What is asked now: an operator's setting where there is one, else configuration and schedule.

A setting outlives the daemon: a limit that somebody set for a weak supply must not vanish with a crash.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from lineside.config import PowerConfig, PowerModeName
from lineside.power.power_mode import check_mode
from lineside.power.schedule import Watts, limit_at

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked at this moment, and where that stands. `mode_asked` counts operators' settings of it."""

    limit_w: float
    source: str
    temperature_max_c: float
    mode: str = ""
    mode_asked: int = 0


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator sets; None leaves a value as it is."""

    limit_w: Watts | None = None
    temperature_max_c: Annotated[float, msgspec.Meta(ge=40, le=100)] | None = None
    mode: PowerModeName | None = None
    reset: bool = False
    by: str = ""


@dataclass(slots=True)
class Settings:
    """Changed and read by any thread."""

    config: PowerConfig
    path: Path
    _change: Change = field(init=False)
    _mode_asked: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._change = _read(self.path)

    def wish(self) -> Wish:
        """What counts now."""
        change, config = self._change, self.config
        limit_w, source = limit_at(config.schedule, time.strftime("%H:%M"), config.limit_w)
        if change.limit_w is not None:
            limit_w, source = change.limit_w, f"operator: {change.by}"
        celsius = change.temperature_max_c
        return Wish(
            limit_w,
            source,
            config.temperature_max_c if celsius is None else celsius,
            str(config.mode if change.mode is None else change.mode),
            self._mode_asked,
        )

    def change(self, change: Change) -> str:
        """Keep a change, then let it count.

        Raises LinesideError for a mode that the board cannot take, OSError where the change cannot be kept.
        """
        with self._lock:
            return self._reset() if change.reset else self._merge(change)

    def _reset(self) -> str:
        self.path.unlink(missing_ok=True)
        self._change = Change()
        return "the configuration counts again"

    def _merge(self, change: Change) -> str:
        if change.mode not in {None, ""}:
            check_mode(Path(self.config.root), str(change.mode))
        merged = Change(
            limit_w=self._change.limit_w if change.limit_w is None else change.limit_w,
            temperature_max_c=change.temperature_max_c or self._change.temperature_max_c,
            mode=self._change.mode if change.mode is None else change.mode,
            by=change.by,
        )
        scratch = self.path.with_suffix(".tmp")
        scratch.write_bytes(msgspec.json.encode(merged))
        scratch.replace(self.path)
        self._change = merged
        self._mode_asked += change.mode is not None
        return told(self.wish())


def told(wish: Wish) -> str:
    """What counts, for people."""
    mode = f", mode {wish.mode}" if wish.mode else ""
    return f"limit {wish.limit_w:g} W, from {wish.temperature_max_c:g} C on less{mode}"


def _read(path: Path) -> Change:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Change)
    except FileNotFoundError:
        return Change()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("the operator's power setting cannot be read: %s", error)
        return Change()
