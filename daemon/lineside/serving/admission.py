"""A synchronous yes or no to a request. No I/O; knows nothing of transports and of how steps are run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from lineside.engine.base import Capabilities
from lineside.errors import Reason, RejectedError
from lineside.power.limit import UNLIMITED, Limit
from lineside.serving.request import Request

NS_PER_MS = 1_000_000
# A hot board takes this long to become clearly cooler.
HEAT_RETRY_MS = 30_000


@dataclass(slots=True)
class Live:
    """An admitted request and how far it is. `cached_tokens` of its prompt were cached when it came."""

    request: Request
    written_tokens: int = 0
    cached_tokens: int = 0

    def remaining_ns(self, capabilities: Capabilities, sharing: int) -> int:
        """Predicted engine time for the rest, where `sharing` sequences share each step."""
        costs = capabilities.costs
        prefill = 0 if self.written_tokens else self.reading_ns(capabilities)
        tokens = max(self.request.expected_tokens - self.written_tokens, 1)
        return prefill + tokens * costs.step(sharing) // sharing

    def reading_ns(self, capabilities: Capabilities) -> int:
        """Predicted engine time for the prompt, but for what was cached."""
        return reading_ns(len(self.request.prompt) - self.cached_tokens, capabilities)


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides from what is live, never from guesses about the future."""

    capabilities: Capabilities
    max_waiting: int
    limit: Callable[[], Limit] = lambda: UNLIMITED

    def check(self, newcomer: Live, live: Collection[Live], now_ns: int) -> None:
        """Return for a yes; raise RejectedError with the reason for a no."""
        request = newcomer.request
        cap = self.capabilities.max_seq_len
        if not request.prompt:
            raise RejectedError(Reason.INVALID, "the prompt is empty", field="prompt")
        if len(request.prompt) >= cap:
            message = f"the prompt has {len(request.prompt)} tokens, at most {cap - 1} fit"
            raise RejectedError(Reason.TOO_LONG, message, field="prompt")
        if request.deadline_ns <= now_ns:
            raise RejectedError(Reason.EXPIRED, "the deadline had passed on arrival")
        limit = self.limit()
        if limit.refusal:
            raise RejectedError(Reason.POWER, limit.refusal, retry_after_ms=HEAT_RETRY_MS)
        if len(live) >= self.capabilities.slots + self.max_waiting:
            wait_ms = max(self.wait_ns(live) // NS_PER_MS, 1)
            message = f"{len(live)} requests are running or waiting"
            raise RejectedError(Reason.OVERLOAD, message, retry_after_ms=wait_ms)
        # Paced, everything takes as much longer as the engine rests.
        needed_ns = round(self.predict_ns(newcomer, live) / limit.duty)
        left_ns = request.deadline_ns - now_ns
        if needed_ns > left_ns:
            message = f"needs about {needed_ns // NS_PER_MS} ms, {left_ns // NS_PER_MS} ms are left"
            raise RejectedError(Reason.DEADLINE, message)

    def predict_ns(self, newcomer: Live, live: Collection[Live]) -> int:
        """Predicted time from now until the newcomer's `expected_tokens` are written."""
        sharing = min(len(live) + 1, self.capabilities.slots)
        tokens = newcomer.request.expected_tokens * self.capabilities.costs.step(sharing)
        return self.wait_ns(live) + newcomer.reading_ns(self.capabilities) + tokens

    def wait_ns(self, live: Collection[Live]) -> int:
        """Predicted time until a newcomer's turn: others' prompts, and a slot where none is free."""
        slots = self.capabilities.slots
        if len(live) < slots:
            return sum(one.reading_ns(self.capabilities) for one in live if not one.written_tokens)
        return (
            sum(one.remaining_ns(self.capabilities, slots) for one in live)
            * (len(live) - slots + 1)
            // len(live)
        )


def reading_ns(tokens: int, capabilities: Capabilities) -> int:
    """Predicted engine time for a prompt, cut into chunks."""
    full, rest = divmod(tokens, capabilities.max_chunk_tokens)
    costs = capabilities.costs
    return full * costs.chunk(capabilities.max_chunk_tokens) + costs.chunk(rest)
