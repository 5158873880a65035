"""Runs checks side by side, each within its time. One that breaks or hangs is a finding like any other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.errors import LinesideError

log = logging.getLogger(__name__)

BOUND_S = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """`look` yields what it finds; `name` stands before the names of its findings."""

    name: str
    look: Callable[[Machine], Iterator[Finding]]
    bound_s: float = BOUND_S


@dataclass(slots=True)
class _Run:
    check: Check
    findings: list[Finding] = field(default_factory=list)
    thread: threading.Thread | None = None

    def start(self, machine: Machine) -> None:
        # Not waited for at the end of the process: a disk that hangs cannot be interrupted.
        self.thread = threading.Thread(target=self._look, args=(machine,), name=self.check.name, daemon=True)
        self.thread.start()

    def collect(self, until_s: float) -> tuple[Finding, ...]:
        """What it found, and whether it is still at it."""
        assert self.thread is not None
        self.thread.join(max(0.0, until_s - time.monotonic()))
        found = tuple(self.findings)
        if not self.thread.is_alive():
            return found
        seen = f"gives no answer within {self.check.bound_s:g} s"
        todo = "look for a disk, a driver or a network name that hangs: dmesg, ps -eo state,pid,comm"
        return (*found, finding(self.check.name, "unknown", seen, todo))

    def _look(self, machine: Machine) -> None:
        try:
            for found in self.check.look(machine):
                self.findings.append(found)
        except PermissionError as error:
            seen = f"may not be seen: {error.filename or error.strerror}"
            self.findings.append(finding(self.check.name, "unknown", seen, "run it as root to see this"))
        except LinesideError as error:
            self.findings.append(finding(self.check.name, "unknown", error.message, error.hint))
        except Exception as error:
            log.debug("a check breaks", exc_info=True)
            self.findings.append(finding(self.check.name, "unknown", f"{type(error).__name__}: {error}"))


def examine(checks: Sequence[Check], machine: Machine) -> tuple[Finding, ...]:
    """What all of them find, in their order."""
    runs = [_Run(check) for check in checks]
    begun_s = time.monotonic()
    for run in runs:
        run.start(machine)
    return tuple(found for run in runs for found in run.collect(begun_s + run.check.bound_s))
