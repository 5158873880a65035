"""Stored reports that wait for their turn, the most urgent first, then the oldest. Knows no journal."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass

import anyio

from lineside.serving.request import Priority


@dataclass(order=True, frozen=True, slots=True)
class Ticket:
    """A report that waits."""

    urgency: int
    report: int


class Tickets:
    """Belongs to the event loop; `least_urgent` may be asked from any thread."""

    def __init__(self) -> None:
        self._heap: list[Ticket] = []
        self._ready = anyio.Semaphore(0)

    def push(self, ticket: Ticket) -> None:
        """One more waits."""
        heapq.heappush(self._heap, ticket)
        self._ready.release()

    async def ready(self) -> None:
        """Returns once there is one, which is then kept for who waited."""
        await self._ready.acquire()

    def pop(self) -> Ticket:
        """The next one; after `ready`."""
        return heapq.heappop(self._heap)

    def give_way(self) -> Ticket | None:
        """The least urgent, the newest of those, waits no more; None where none is left for that."""
        try:
            self._ready.acquire_nowait()
        except anyio.WouldBlock:
            return None
        ticket = max(self._heap)
        self._heap.remove(ticket)
        heapq.heapify(self._heap)
        return ticket

    def least_urgent(self) -> int:
        """The urgency of what would give way; of nothing, the highest."""
        return max((ticket.urgency for ticket in self._heap), default=int(Priority.CRITICAL))

    def by_priority(self) -> Counter[Priority]:
        """How many wait."""
        return Counter(Priority(ticket.urgency) for ticket in self._heap)
