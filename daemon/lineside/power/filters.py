"""Smoothing. Knows nothing of what is smoothed."""

from __future__ import annotations

import math
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
