"""Which part of the machine's limit the GPU may draw, as a power limit of its own. Pure.

The driver holds it by clocks, which costs less work than pacing does: what the rest of the machine draws is
taken off, and pacing is left with what remains over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lineside.power.filters import Average

# What else is drawn is smoothed over so long; a limit that is set stays for at least so long.
REST_S, HOLD_S = 2.0, 2.0
# So that the sum stays below the limit, where pacing has nothing to do.
MARGIN = 0.99
# Smaller changes are not worth a call.
WORTH = 0.03
STEP_MW = 1000


@dataclass(slots=True)
class GpuShare:
    """Decides sample by sample, in milliwatts, between `least_mw` and `most_mw`."""

    least_mw: int
    most_mw: int
    _rest: Average = field(default_factory=lambda: Average(REST_S), init=False)
    _chosen_mw: int | None = field(default=None, init=False)
    _chosen_s: float = field(default=-math.inf, init=False)
    _last_s: float | None = field(default=None, init=False)

    def step(
        self, now_s: float, limit_mw: float | None, total_mw: float | None, gpu_mw: float | None
    ) -> int | None:
        """The GPU's limit; None: there is none. Where nobody knows what is drawn: the least."""
        elapsed_s = 0.0 if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        if limit_mw is None:
            self._rest.reset()
            self._chosen_mw = None
            return None
        if total_mw is None or gpu_mw is None:
            self._rest.reset()
            return self._choose(now_s, self.least_mw)
        rest_mw = self._rest.add(max(total_mw - gpu_mw, 0.0), elapsed_s)
        wanted_mw = math.floor((MARGIN * limit_mw - rest_mw) / STEP_MW) * STEP_MW
        wanted_mw = min(max(wanted_mw, self.least_mw), self.most_mw)
        held = now_s - self._chosen_s < HOLD_S
        small = self._chosen_mw is not None and abs(wanted_mw - self._chosen_mw) < WORTH * self._chosen_mw
        if self._chosen_mw is not None and (held or small):
            return self._chosen_mw
        return self._choose(now_s, wanted_mw)

    def _choose(self, now_s: float, milliwatts: int) -> int:
        if milliwatts != self._chosen_mw:
            self._chosen_mw, self._chosen_s = milliwatts, now_s
        return milliwatts
