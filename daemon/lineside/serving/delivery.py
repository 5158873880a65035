"""What the engine's thread hands to the event loop, and how often. Knows no engine and no wire."""

from __future__ import annotations

import time
from collections.abc import Callable

from lineside.serving.request import Event, TokenEvent

# As often as an eye takes for flowing; but each hand-over wakes the loop and costs a message a request, on
# cores that the engine's threads use, too: so of many requests at once, each is heard less often.
EVERY_NS = 50_000_000
MESSAGE_NS = 12_500_000

Delivered = tuple[str, Event]


class Delivery:
    """Keeps token events back for up to EVERY_NS, or MESSAGE_NS a request, and a step more, and joins them.

    A request's first event and its end go at once, and what is there of it with them. Belongs to one thread;
    `post` is called on it. What has no text yet is not here: who adds it asks first whether it is due.
    """

    def __init__(
        self, post: Callable[[list[Delivered]], None], now_ns: Callable[[], int] | None = None
    ) -> None:
        self._post, self._now_ns = post, now_ns or time.monotonic_ns
        self._kept: list[Delivered] = []
        self._begun: set[str] = set()
        self._urgent: set[str] = set()
        self._posted_ns = 0

    def add(self, request_id: str, event: Event) -> None:
        """Take an event in."""
        if not isinstance(event, TokenEvent):
            self._urgent.add(request_id)
            self._begun.discard(request_id)
        elif request_id not in self._begun:
            self._urgent.add(request_id)
            self._begun.add(request_id)
        self._kept.append((request_id, event))

    def due(self, everything: bool) -> bool:
        """Whether it is time to hand all of it over; `everything`, before a step that takes long."""
        patience_ns = max(EVERY_NS, MESSAGE_NS * len(self._begun))
        return everything or self._now_ns() - self._posted_ns >= patience_ns

    def hand_over(self, due: bool) -> None:
        """Post what is there, or, where that is not due, what may not wait."""
        kept, self._kept = self._kept, []
        if due:
            self._posted_ns = self._now_ns() if kept else self._posted_ns
        elif kept:
            self._kept = [delivered for delivered in kept if delivered[0] not in self._urgent]
            kept = [delivered for delivered in kept if delivered[0] in self._urgent]
        self._urgent.clear()
        if kept:
            self._post(_joined(kept))


def _joined(delivered: list[Delivered]) -> list[Delivered]:
    """Each request's events in their order, neighbours of a kind in one.

    Not where a choice was less than certain: its listener counts some choices and not others.
    """
    found: dict[str, list[Event]] = {}
    for request_id, event in delivered:
        events = found.setdefault(request_id, [])
        last = events[-1] if events else None
        if isinstance(last, TokenEvent) and isinstance(event, TokenEvent) and _joinable(last, event):
            events[-1] = TokenEvent(
                last.text + event.text, last.tokens + event.tokens, thinking=event.thinking
            )
        else:
            events.append(event)
    return [(request_id, event) for request_id, events in found.items() for event in events]


def _joinable(one: TokenEvent, other: TokenEvent) -> bool:
    return one.thinking == other.thinking and one.probability == other.probability == 1.0
