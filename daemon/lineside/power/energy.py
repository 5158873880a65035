"""Energy from power, and its parts for those that are worked on at the same time. Knows not what they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

# Over a longer gap between samples nobody knows what was drawn: it is not counted.
MAX_GAP_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Point:
    joules: float
    power_mw: float
    at_ns: int


@dataclass(slots=True)
class EnergyMeter:
    """Integrates power. One thread adds, any thread reads."""

    _point: _Point | None = field(default=None, init=False)

    def add(self, power_mw: float | None, now_ns: int) -> None:
        """Take a sample in; None: nobody knows."""
        point = self._point
        if power_mw is None:
            return
        if point is None:
            self._point = _Point(0.0, power_mw, now_ns)
            return
        elapsed_ns = now_ns - point.at_ns
        used_j = (power_mw + point.power_mw) / 2 * elapsed_ns / 1e12 if elapsed_ns <= MAX_GAP_NS else 0.0
        self._point = _Point(point.joules + used_j, power_mw, now_ns)

    def joules(self, now_ns: int) -> float | None:
        """Joules since the first sample, carried on from the last one; None where that is too old."""
        point = self._point
        if point is None or not 0 <= now_ns - point.at_ns <= MAX_GAP_NS:
            return None
        return point.joules + point.power_mw * (now_ns - point.at_ns) / 1e12

    @property
    def total_j(self) -> float | None:
        """Joules up to the last sample."""
        return None if self._point is None else self._point.joules


@dataclass(slots=True)
class EnergyShares:
    """Divides what the machine draws among the shares that are open. Belongs to one thread."""

    meter: EnergyMeter
    clock_ns: Callable[[], int] = time.monotonic_ns
    _open: int = field(default=0, init=False)
    _each_j: float = field(default=0.0, init=False)
    _unknown: int = field(default=0, init=False)
    _last_j: float | None = field(default=None, init=False)
    _accounted: int = field(default=0, init=False)
    _accounted_j: float = field(default=0.0, init=False)

    def share(self) -> Share:
        """One more; open while its block runs."""
        return Share(self)

    def account(self, joules: float | None) -> None:
        """What one has taken in the end, for the mean."""
        if joules is not None:
            self._accounted += 1
            self._accounted_j += joules

    @property
    def mean_j(self) -> float | None:
        """Joules of one, on average; None: not measured."""
        return self._accounted_j / self._accounted if self._accounted else None

    def advance(self, opened: int = 0) -> tuple[float, int]:
        """What each has had until now, and how often nobody knew; then open or close some."""
        now_j = self.meter.joules(self.clock_ns())
        if now_j is None or self._last_j is None:
            self._unknown += 1
        elif self._open:
            self._each_j += max(now_j - self._last_j, 0.0) / self._open
        # Who opens while power is measured knows its whole time.
        self._last_j = now_j
        self._open += opened
        return self._each_j, self._unknown


@dataclass(slots=True)
class Share:
    """See EnergyShares.share."""

    _shares: EnergyShares
    _begun: tuple[float, int] = field(default=(0.0, 0), init=False)

    def __enter__(self) -> Share:
        self._begun = self._shares.advance(1)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._shares.advance(-1)

    def joules(self) -> float | None:
        """So far; None where power was not measured all the time."""
        each_j, unknown = self._shares.advance()
        return each_j - self._begun[0] if unknown == self._begun[1] else None
