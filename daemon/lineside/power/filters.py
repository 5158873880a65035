"""Smoothing. Knows nothing of what is smoothed."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Average:
    """An exponential average over irregular samples."""

    over_s: float
    value: float | None = field(default=None, init=False)

    def add(self, sample: float, elapsed_s: float) -> float:
        """Take a sample in; the average."""
        if self.value is None:
            self.value = sample
        else:
            self.value += (sample - self.value) * -math.expm1(-elapsed_s / self.over_s)
        return self.value

    def reset(self, value: float | None = None) -> None:
        """Forget, or believe `value`."""
        self.value = value


# The median of the difference of two independent samples, in standard deviations of one.
MEDIAN_DIFFERENCE = 0.954


@dataclass(slots=True)
class Ripple:
    """How much neighbouring samples differ, as a standard deviation. A step to another level is none."""

    samples: int = 30
    _last: float | None = field(default=None, init=False)
    _differences: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self._differences = deque(maxlen=self.samples)

    def add(self, sample: float) -> None:
        """Take a sample in."""
        if self._last is not None:
            self._differences.append(abs(sample - self._last))
        self._last = sample

    @property
    def deviation(self) -> float:
        """0 before there is enough to tell."""
        known = len(self._differences) > self.samples // 3
        return statistics.median(self._differences) / MEDIAN_DIFFERENCE if known else 0.0
