"""What the event loop tells the engine's thread. Knows nothing of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lineside.errors import Reason
from lineside.serving.scoring import Scoring
from lineside.serving.sequence import Generation

Work = Generation | Scoring


@dataclass(frozen=True, slots=True)
class Submit:
    """A request to run."""

    work: Work


@dataclass(frozen=True, slots=True)
class Abort:
    """A request that nobody waits for any more, or that has to end."""

    request_id: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End every sequence and leave the thread."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the thread still takes commands: `answer` is called on it."""

    answer: Callable[[], None]


Command = Submit | Abort | Stop | Ping
