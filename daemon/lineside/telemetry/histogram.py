"""Counts of values by size. Knows nothing of what is measured and of who reads it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field


@dataclass(slots=True)
class Histogram:
    """How many values fell at or below each of `bounds`, ascending. One thread observes, any reads."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Take a value in."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Each bound, the last of them `+Inf`, and how many values are not above it."""
        count, buckets = 0, []
        for bound, own in zip((*map(repr, self.bounds), "+Inf"), tuple(self.counts), strict=True):
            count += own
            buckets.append((bound, count))
        return buckets
