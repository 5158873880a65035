"""Stored reports that wait for their turn, the most urgent first, then the oldest. Knows no journal."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass

import anyio

from lineside.serving.request import Priority


@dataclass(frozen=True, slots=True)
class Ticket:
    """A report that waits."""

    urgency: int
    report: int


class Tickets:
    """Belongs to the event loop; `least_urgent` may be asked from any thread."""

    def __init__(self) -> None:
        self._reports: dict[int, list[int]] = {int(priority): [] for priority in Priority}
        self._pushed = anyio.Event()

    def push(self, ticket: Ticket) -> None:
        """One more waits."""
        bisect.insort(self._reports[ticket.urgency], ticket.report)
        self._pushed.set()

    async def take(self, at_most: Priority) -> Ticket:
        """The next one, once there is one that is as urgent as this, or more."""
        while True:
            for urgency in range(at_most + 1):
                if self._reports[urgency]:
                    return Ticket(urgency, self._reports[urgency].pop(0))
            self._pushed = anyio.Event() if self._pushed.is_set() else self._pushed
            await self._pushed.wait()

    def give_way(self) -> Ticket | None:
        """The least urgent, the newest of those, waits no more; None where none is left for that."""
        for urgency, reports in reversed(self._reports.items()):
            if reports:
                return Ticket(urgency, reports.pop())
        return None

    def least_urgent(self) -> int:
        """The urgency of what would give way; of nothing, the highest."""
        waiting = (urgency for urgency, reports in reversed(self._reports.items()) if reports)
        return next(waiting, int(Priority.CRITICAL))

    def by_priority(self) -> Counter[Priority]:
        """How many wait."""
        return Counter(
            {Priority(urgency): len(reports) for urgency, reports in self._reports.items() if reports}
        )
