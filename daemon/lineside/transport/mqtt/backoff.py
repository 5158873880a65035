"""How long to wait before the next attempt. Knows nothing of what is attempted."""

from __future__ import annotations

import random


class Backoff:
    """Doubles at each attempt, with jitter, so that what failed together does not come back together."""

    def __init__(self, first_s: float = 0.5, *, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._attempts = 0

    def next_s(self) -> float:
        """The wait before the next attempt."""
        whole = min(self._most_s, self._first_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return float(whole * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    def reset(self) -> None:
        """What was attempted has held."""
        self._attempts = 0
