"""Topics that the broker takes nothing on, and when each is tried again. Knows nothing of what is published.

It refuses by topic, mostly: one answer tries a topic now and then, the others wait until it is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

import anyio
import anyio.abc

from lineside.transport.mqtt.backoff import Backoff

# Between two attempts on a topic: from an access list that is being corrected to one that never will be.
FIRST_S, MOST_S = 1.0, 60.0


@dataclass(slots=True)
class _Topic:
    """`rows` wait; `tries` is the one that was let go last."""

    rows: deque[int] = field(default_factory=deque)
    tries: int = 0


class Refusals:
    """Those of one connection, on the event loop. `again` lets rows go once more."""

    def __init__(self, again: Callable[[Iterable[int]], None]) -> None:
        self._again = again
        self._topics: dict[str, _Topic] = {}
        self._tasks = anyio.create_task_group()
        self._over = False

    async def __aenter__(self) -> Refusals:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._over = True
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, trace)

    def hold(self, topic: str, row: int) -> bool:
        """Whether the row has to wait, for its topic is refused."""
        refused = self._topics.get(topic)
        if refused is None or refused.tries == row:
            return False
        refused.rows.append(row)
        return True

    def refused(self, topic: str, row: int) -> None:
        """The broker does not take it. Once the connection is over, the next one tries it anyway."""
        if self._over:
            return
        if topic not in self._topics:
            self._topics[topic] = _Topic()
            self._tasks.start_soon(self._try, topic, self._topics[topic], name="try a refused topic")
        self._topics[topic].rows.append(row)

    def taken(self, topic: str) -> None:
        """The broker takes answers on it."""
        refused = self._topics.pop(topic, None)
        if refused is not None and not self._over:
            self._again(refused.rows)

    async def _try(self, topic: str, refused: _Topic) -> None:
        backoff = Backoff(FIRST_S, most_s=MOST_S)
        while True:
            await anyio.sleep(backoff.next_s())
            if self._topics.get(topic) is not refused:
                return
            if not refused.rows:
                # The last one was given up, or the broker has not answered yet.
                del self._topics[topic]
                return
            refused.tries = refused.rows.popleft()
            self._again((refused.tries,))
