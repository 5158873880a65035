"""Answers on their way to the broker: few of them at once. Knows nothing of how they were found."""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import anyio

from lineside.errors import RejectedError
from lineside.forms import formed
from lineside.journal import Journal
from lineside.ports import OutgoingAnswer

# Answers that are held. Of what waits beyond them only the row is: a broker may be away, or take nothing.
PAGE = 64
RETRY_S = 1.0

T = TypeVar("T")


class Outbox:
    """Belongs to the event loop. `nothing_of`: told the row of what there is nothing to publish of."""

    def __init__(self, journal: Journal, nothing_of: Callable[[int], None]) -> None:
        self.unpublished = 0
        self._journal = journal
        self._nothing_of = nothing_of
        # Answers and rows of others, for whoever reads; None: nobody does, and the journal has them all.
        self._waiting: deque[OutgoingAnswer | int] | None = None
        # Rows that waited when whoever reads began, in order.
        self._backlog = array("q")
        self._come = anyio.Event()
        self._sent = anyio.Event()

    def put(self, answer: OutgoingAnswer) -> None:
        """It is stored. It goes out once to whoever reads now, else to the next."""
        if self._waits_already(answer.row):
            return
        self.unpublished += 1
        if self._waiting is not None:
            self._waiting.append(answer if len(self._waiting) < PAGE else answer.row)
            self._come.set()

    def again(self, rows: Iterable[int]) -> None:
        """Whoever reads now gets them once more."""
        if self._waiting is not None:
            self._waiting.extend(rows)
            self._come.set()

    def sent(self) -> None:
        """The broker has one more."""
        self.unpublished = max(self.unpublished - 1, 0)
        self._sent.set()

    async def all_sent(self) -> None:
        """Returns once the broker has all of them."""
        while self.unpublished:
            self._sent = anyio.Event()
            await self._sent.wait()

    async def answers(self) -> AsyncIterator[OutgoingAnswer]:
        """See ports.Inbox: first what waits already, then what comes."""
        self._waiting = waiting = deque[OutgoingAnswer | int]()
        self._backlog = array("q")
        try:
            await self._begin(waiting)
            for start in range(0, len(self._backlog), PAGE):
                for answer in await self._page(self._backlog[start : start + PAGE]):
                    yield answer
            while True:
                for answer in await self._next(waiting):
                    yield answer
        finally:
            if self._waiting is waiting:
                self._waiting, self._backlog = None, array("q")

    async def _begin(self, waiting: deque[OutgoingAnswer | int]) -> None:
        rows: list[int] = await _read(self._journal.unpublished)
        self._backlog = array("q", rows)
        # What was put meanwhile may have been stored in time to be among them.
        newer = [one for one in waiting if not self._waits_already(one if isinstance(one, int) else one.row)]
        waiting.clear()
        waiting.extend(newer)
        self.unpublished = len(self._backlog) + len(newer)

    def _waits_already(self, row: int) -> bool:
        place = bisect_left(self._backlog, row)
        return place < len(self._backlog) and self._backlog[place] == row

    async def _next(self, waiting: deque[OutgoingAnswer | int]) -> list[OutgoingAnswer]:
        """What is to go out next, once there is something."""
        while not waiting:
            self._come = anyio.Event()
            await self._come.wait()
        if isinstance(first := waiting.popleft(), OutgoingAnswer):
            return self._formed([first])
        rows = [first]
        while waiting and len(rows) < PAGE and isinstance(row := waiting[0], int):
            rows.append(row)
            waiting.popleft()
        return await self._page(rows)

    async def _page(self, rows: Sequence[int]) -> list[OutgoingAnswer]:
        """Those that still wait, in the order of their rows here."""
        found = {answer.row: answer for answer in await _read(lambda: self._journal.outgoing(rows))}
        for _ in range(len(rows) - len(found)):
            self.sent()  # given up meanwhile
        return self._formed([found[row] for row in rows if row in found])

    def _formed(self, answers: list[OutgoingAnswer]) -> list[OutgoingAnswer]:
        ready = []
        for answer in answers:
            if (one := formed(answer)) is None:
                self._nothing_of(answer.row)
            else:
                ready.append(one)
        return ready


async def _read(ask: Callable[[], Future[T]]) -> T:
    """The journal's answer. While it cannot write, what is read in the same transaction fails, too."""
    while True:
        with contextlib.suppress(RejectedError):
            return await asyncio.wrap_future(ask())
        await anyio.sleep(RETRY_S)
