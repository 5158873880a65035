"""RAPL: what a PC's processor packages draw, from their energy counters. Knows no policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lineside.power.readings import Probe, read_number, text_or

# Below this, the counter's own granularity would be most of the result.
MIN_INTERVAL_NS = 20_000_000


@dataclass(slots=True)
class EnergyCounter:
    """Turns a counter of microjoules, which wraps at `range_uj`, into milliwatts since the last read."""

    path: Path
    range_uj: float
    clock_ns: Callable[[], int] = time.monotonic_ns
    _last: tuple[float, int] | None = field(default=None, init=False)
    _power_mw: float | None = field(default=None, init=False)

    def read(self) -> float:
        """Milliwatts. Raises OSError or ValueError."""
        energy_uj, now_ns = read_number(self.path), self.clock_ns()
        if self._last is None:
            self._last = (energy_uj, now_ns)
        elapsed_ns = now_ns - self._last[1]
        if elapsed_ns >= MIN_INTERVAL_NS:
            used_uj = energy_uj - self._last[0]
            if used_uj < 0:
                used_uj += self.range_uj
            self._power_mw, self._last = used_uj * 1e6 / elapsed_ns, (energy_uj, now_ns)
        if self._power_mw is None:
            raise ValueError("the first interval is not over yet")
        return self._power_mw


def find_packages(root: Path) -> list[Probe]:
    """The platform's counter where there is one (it holds all others), else one for each package."""
    domains = {path: text_or(path / "name") for path in sorted(root.glob("sys/class/powercap/intel-rapl:*"))}
    top = {path: name for path, name in domains.items() if path.name.count(":") == 1}
    chosen = [path for path, name in top.items() if name == "psys"] or list(top)
    return [Probe(top[path].upper().replace("-", "_"), _counter(path).read) for path in chosen]


def _counter(path: Path) -> EnergyCounter:
    try:
        range_uj = read_number(path / "max_energy_range_uj")
    except (OSError, ValueError):
        range_uj = 0.0
    return EnergyCounter(path / "energy_uj", range_uj)
