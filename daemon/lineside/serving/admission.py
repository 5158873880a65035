"""A synchronous yes or no to a request. No I/O; knows nothing of transports and of how steps are run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from lineside.engine.base import Capabilities
from lineside.errors import Reason, RejectedError
from lineside.power.limit import UNLIMITED, Limit
from lineside.serving.pace import BESIDE_CRITICAL
from lineside.serving.request import Priority, Request

NS_PER_MS = 1_000_000
# A hot board takes this long to become clearly cooler.
HEAT_RETRY_MS = 30_000


@dataclass(slots=True, eq=False)
class Live:
    """An admitted request and how far it is. `cached_tokens` of its prompt were cached when it came.

    `begun`: it has been in a step. `retry_after_ms`: its place is another's and its end on the way.
    """

    request: Request
    written_tokens: int = 0
    cached_tokens: int = 0
    begun: bool = False
    retry_after_ms: int = 0

    @property
    def unread(self) -> bool:
        """Whether its prompt is still to be read; what the grammar forces first is written before that."""
        return not (self.begun and self.written_tokens)

    def remaining_ns(self, capabilities: Capabilities, sharing: int) -> int:
        """Predicted engine time for the rest, where `sharing` sequences share each step."""
        costs = capabilities.costs
        prefill = self.reading_ns(capabilities) if self.unread else 0
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

    def check(self, newcomer: Live, live: Collection[Live], now_ns: int) -> Live | None:
        """Return for a yes; raise RejectedError with the reason for a no. `live`: in the order of coming.

        Where nobody more may wait, what is returned is who has to give its place up.
        """
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
        full = len(live) >= self.capabilities.slots + self.max_waiting
        displaced = _least_urgent(live, request.priority) if full else None
        if full and displaced is None:
            message = f"{len(live)} requests are running or waiting"
            raise RejectedError(Reason.OVERLOAD, message, retry_after_ms=self.retry_ms(live))
        # Paced, everything takes as much longer as the engine rests.
        needed_ns = round(self.predict_ns(newcomer, live) / limit.duty)
        left_ns = request.deadline_ns - now_ns
        if needed_ns > left_ns:
            message = f"needs about {needed_ns // NS_PER_MS} ms, {left_ns // NS_PER_MS} ms are left"
            raise RejectedError(Reason.DEADLINE, message)
        return displaced

    @property
    def _slots(self) -> int:
        """Sequences that share a step at most."""
        return min(self.capabilities.slots, self.limit().max_batch or self.capabilities.slots)

    def predict_ns(self, newcomer: Live, live: Collection[Live]) -> int:
        """Predicted time from now until the newcomer's `expected_tokens` are written."""
        before, beside = self._turns(newcomer.request, live)
        sharing = min(len(before) + len(beside) + 1, self._slots)
        tokens = newcomer.request.expected_tokens * self.capabilities.costs.step(sharing)
        reading_ns = self._reading_ns([*beside, newcomer])
        if newcomer.request.priority is Priority.CRITICAL and len(live) > len(before):
            reading_ns += round(BESIDE_CRITICAL * reading_ns)
        return self.wait_ns(before) + reading_ns + tokens

    def wait_ns(self, before: Collection[Live]) -> int:
        """Predicted time until the turn of who comes after these: their prompts, and a slot where all run."""
        slots = self._slots
        if len(before) < slots:
            return self._reading_ns(before)
        remaining_ns = sum(one.remaining_ns(self.capabilities, slots) for one in before)
        return remaining_ns * (len(before) - slots + 1) // len(before)

    def retry_ms(self, live: Collection[Live]) -> int:
        """When somebody who cannot wait here may come back."""
        return max(self.wait_ns(live) // NS_PER_MS, 1)

    def _reading_ns(self, several: Iterable[Live]) -> int:
        return sum(one.reading_ns(self.capabilities) for one in several if one.unread)

    def _turns(self, request: Request, live: Collection[Live]) -> tuple[list[Live], list[Live]]:
        """Who is served before a newcomer and who beside it, as the scheduler gives slots and steps."""
        slots = self._slots
        before = [one for one in live if _goes_before(one, request)]
        others = [one for one in live if not _goes_before(one, request)]
        staying = [one for one in others if one.begun and one.request.scored_tokens > 1]
        if len(before) < slots <= len(before) + len(staying):
            before += staying  # a scoring keeps its slot
        if request.priority is Priority.CRITICAL:
            return before, []
        others.sort(key=lambda one: (one.request.priority, one.request.deadline_ns))
        return before, others[: max(slots - 1 - len(before), 0)]


def _goes_before(one: Live, request: Request) -> bool:
    """Whether the scheduler serves one that is live before a newcomer; of one priority none is preempted."""
    if one.request.priority != request.priority:
        return one.request.priority < request.priority
    return one.begun or one.request.deadline_ns <= request.deadline_ns


def _least_urgent(live: Collection[Live], priority: Priority) -> Live | None:
    """Of those that wait for their first step and have a lower priority: the least urgent."""
    waiting = [one for one in live if not one.begun and one.request.priority > priority]
    return max(
        reversed(waiting), key=lambda one: (one.request.priority, one.request.deadline_ns), default=None
    )


def reading_ns(tokens: int, capabilities: Capabilities) -> int:
    """Predicted engine time for a prompt, cut into chunks."""
    full, rest = divmod(tokens, capabilities.max_chunk_tokens)
    costs = capabilities.costs
    return full * costs.chunk(capabilities.max_chunk_tokens) + costs.chunk(rest)
