"""A request that asks how likely given tokens are behind others, while it runs. Knows nothing of engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lineside.errors import Reason
from lineside.serving.request import EndEvent, Event, FinishReason, Request, Timings, Usage

if TYPE_CHECKING:
    from lineside.engine.base import Logits, Rows


@dataclass(slots=True)
class Scoring:
    """Turns logits into log probabilities of the last `scored_tokens` of a prompt; one event, the end."""

    request: Request
    deliver: Callable[[Event], None]
    admitted_ns: int
    started_ns: int = 0
    running: bool = False
    reused_tokens: int = 0
    energy_j: float | None = None
    _first_ns: int = 0
    _logprobs: list[float] = field(default_factory=list)

    def open(self, now_ns: int) -> list[int]:
        """What has to be read: nothing comes behind the last token."""
        assert 0 < self.request.scored_tokens < len(self.request.prompt)
        return list(self.request.prompt[:-1])

    def take(self, rows: Rows, now_ns: int) -> list[int]:
        """Logits [vocab_size] behind each of some tokens, in their order; there is nothing to go on with."""
        self._first_ns = self._first_ns or now_ns
        begin = len(self.request.prompt) - self.request.scored_tokens + len(self._logprobs)
        tokens = self.request.prompt[begin : begin + len(rows)]
        self._logprobs += [_logprob(row, token) for row, token in zip(rows, tokens, strict=True)]
        if len(self._logprobs) == self.request.scored_tokens:
            self._end(FinishReason.STOP, now_ns)
        return []

    def abort(self, reason: Reason, message: str, now_ns: int) -> None:
        """End without a result."""
        self._logprobs.clear()
        self._end(FinishReason.ABORTED, now_ns, reason, message)

    def _end(
        self, finish: FinishReason, now_ns: int, reason: Reason | None = None, message: str = ""
    ) -> None:
        timings = Timings.between(self.admitted_ns, self.started_ns, self._first_ns, now_ns)
        usage = Usage(len(self.request.prompt), reused_tokens=self.reused_tokens)
        found = tuple(self._logprobs)
        self.deliver(EndEvent(finish, usage, timings, reason, message, self.energy_j, found))


def _logprob(logits: Logits, token: int) -> float:
    row = np.asarray(logits)
    largest = float(row.max())
    return float(row[token]) - largest - float(np.log(np.exp(row - largest).sum(dtype=np.float64)))
