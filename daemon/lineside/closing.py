"""The end of a port's iterator. Knows nothing of what it yields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Closing(Generic[T]):
    """Closes a port's iterator at the end of the block, which frees what it holds."""

    def __init__(self, events: AsyncIterator[T]) -> None:
        self._events = events

    async def __aenter__(self) -> AsyncIterator[T]:
        return self._events

    async def __aexit__(self, *_: object) -> None:
        aclose: Callable[[], Awaitable[None]] | None = getattr(self._events, "aclose", None)
        if aclose is not None:
            await aclose()
