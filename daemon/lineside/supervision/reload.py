"""What a reload changes, and what it leaves for the next start. Knows nothing of signals."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from lineside.config import Config
from lineside.errors import LinesideError
from lineside.supervision.notify import Notifier
from lineside.telemetry.log import set_level

log = logging.getLogger(__name__)

CHANGES = frozenset({"telemetry.log_level"})


def reload(started: Config, read: Callable[[], Config], notifier: Notifier) -> None:
    """Read the configuration again and take from it what can change while running; the log names the rest."""
    notifier.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
    try:
        wanted = read()
    except LinesideError as error:
        log.error("nothing is reloaded: %s", error)  # noqa: TRY400 - it says what to do, not where it was raised
    else:
        set_level(wanted.telemetry.log_level)
        kept = sorted(differences(started, wanted) - CHANGES)
        if kept:
            log.warning("these change at the next start only", extra={"keys": ", ".join(kept)})
        log.info("reloaded")
    notifier.send(READY=1)


def differences(old: Config, new: Config) -> set[str]:
    """The keys whose values differ, as `section.key`."""
    return _differences(msgspec.to_builtins(old), msgspec.to_builtins(new), "")


def _differences(old: dict[str, object], new: dict[str, object], prefix: str) -> set[str]:
    found: set[str] = set()
    for name, value in old.items():
        other = new[name]
        if isinstance(value, dict) and isinstance(other, dict):
            found |= _differences(value, other, f"{prefix}{name}.")
        elif value != other:
            found.add(prefix + name)
    return found
