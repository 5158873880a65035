"""How much less power at which temperature, and from which on nothing new is taken. Pure.

In proportion between the operator's maximum and the temperature at which the board would act by itself: heat
follows power so slowly that a proportional rule settles without swinging.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lineside.power.filters import Average

MIN_FACTOR = 0.1
# Without a trip to stay below, derating takes this long a way.
SPAN_C = 10.0
# How far below the board's own trip everything must have ended.
BEFORE_TRIP_C = 4.0
READMIT_BELOW_C = 3.0


@dataclass(frozen=True, slots=True)
class Heat:
    """`factor` of the power that may be drawn; `refusal`: why nothing new is taken, empty where it is."""

    factor: float = 1.0
    refusal: str = ""


@dataclass(slots=True)
class HeatPolicy:
    """Remembers the temperature, and whether it refuses."""

    _average: Average = field(default_factory=lambda: Average(1.0), init=False)
    _refusing: bool = field(default=False, init=False)

    def step(self, celsius: float | None, max_c: float, trip_c: float | None, elapsed_s: float) -> Heat:
        """Take a temperature in. One that cannot be read changes nothing: the board still protects itself."""
        if celsius is not None:
            self._average.add(celsius, elapsed_s)
        now_c = self._average.value
        if now_c is None:
            return Heat()
        stop_c = stop_temperature(max_c, trip_c)
        self._refusing = now_c >= stop_c - (READMIT_BELOW_C if self._refusing else 0.0)
        factor = 1.0 - (now_c - max_c) / (stop_c - max_c)
        refusal = f"{now_c:.0f} C: too hot to take more" if self._refusing else ""
        return Heat(max(min(factor, 1.0), MIN_FACTOR), refusal)


def stop_temperature(max_c: float, trip_c: float | None) -> float:
    """From here on nothing new is taken."""
    stop_c = max_c + SPAN_C
    if trip_c is not None:
        stop_c = min(stop_c, trip_c - BEFORE_TRIP_C)
    return max(stop_c, max_c + 1.0)
