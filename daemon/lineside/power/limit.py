"""What power allows serving now. Published by the governor, read by admission, scheduler and worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

# The share of time that the engine gets while nobody knows what it draws.
CONSERVATIVE_DUTY = 0.3


@dataclass(frozen=True, slots=True)
class Limit:
    """`duty`: share of time that the engine may run. `max_batch`: sequences a step, None for all slots.

    `refusal` says why nothing new is admitted; empty: it is. `valid_until_ns` 0: for ever.
    """

    duty: float = 1.0
    max_batch: int | None = None
    refusal: str = ""
    valid_until_ns: int = 0


UNLIMITED = Limit()


@dataclass(slots=True)
class PublishedLimit:
    """The limit that holds. Written by one thread, read by any."""

    clock_ns: Callable[[], int]
    _limit: Limit = field(default=UNLIMITED, init=False)

    def publish(self, limit: Limit) -> None:
        """Let `limit` hold from now on."""
        self._limit = limit

    def read(self) -> Limit:
        """The limit; a conservative one where it has not been renewed, as when a sensor's bus hangs."""
        limit = self._limit
        if limit.valid_until_ns and self.clock_ns() > limit.valid_until_ns:
            return Limit(min(limit.duty, CONSERVATIVE_DUTY), limit.max_batch, limit.refusal)
        return limit
