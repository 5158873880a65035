"""Energy from power, and what of it the engine's steps took. Knows nothing of requests."""

from __future__ import annotations

from dataclasses import dataclass, field

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
