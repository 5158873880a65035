"""What a model writes for one diagnosis, as it comes, and why it was not used. Knows no transports."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import anyio

from lineside.diagnosis.guide import Guide
from lineside.diagnosis.prompt import Prompt
from lineside.diagnosis.writer import Writer
from lineside.errors import RejectedError
from lineside.ports import Call
from lineside.serving.request import Event, FinishReason, TokenEvent

log = logging.getLogger(__name__)

NS_PER_MS = 1_000_000
MAX_TEXT = 8192
# Confidence is about which entry it is, which is told first; in what order its causes stand says nothing of
# that.
_AFTER_CHOICE = '",'


@dataclass(slots=True)
class Draft:
    """The text so far. `refusal` says why there is no more, where that was not the model's own end."""

    text: str = ""
    refusal: str = ""
    probability: float = 1.0
    first_token_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    energy_j: float | None = None
    _done: bool = field(default=False, repr=False)

    def take(self, event: Event) -> None:
        """Add what an event tells."""
        if isinstance(event, TokenEvent):
            if _AFTER_CHOICE not in self.text:
                self.probability *= event.probability
            self.text += event.text
            if len(self.text) > MAX_TEXT:
                self.refusal = "the model wrote too much"
            return
        self._done = True
        self.first_token_ms = event.timings.first_token_ms
        self.prompt_tokens = event.usage.prompt_tokens
        self.completion_tokens = event.usage.completion_tokens
        self.energy_j = event.energy_j
        if event.finish is FinishReason.ABORTED:
            self.refusal = event.message or (
                event.reason.value if event.reason else "the generation was aborted"
            )
        elif event.finish is FinishReason.LENGTH:
            self.refusal = "the model's answer was cut off"

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self._done or bool(self.refusal)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a model is asked."""

    writer: Writer
    guide: Guide
    prompt: Prompt
    max_tokens: int


async def write(draft: Draft, task: Assignment, call: Call, timeout_s: float) -> AsyncGenerator[str, None]:
    """Fill `draft`, yielding its text. Where the writer fails, `draft.refusal` says how."""
    events = task.writer.write(task.prompt.messages, task.guide.schema(), call, task.max_tokens)
    # The time limit goes around each wait, not around the yields: a cancel scope may not span those.
    limit = anyio.current_time() + timeout_s
    try:
        while not draft.done:
            with anyio.CancelScope(deadline=limit) as scope:
                event = await anext(events)
            if scope.cancelled_caught:
                draft.refusal = "the deadline came before the model's answer"
                break
            draft.take(event)
            if isinstance(event, TokenEvent) and event.text:
                yield event.text
    except RejectedError as refusal:
        draft.refusal = refusal.message
    except StopAsyncIteration:
        draft.refusal = "the generation ended without an end"
    except Exception:
        log.exception("the engine failed in a diagnosis")
        draft.refusal = "the engine failed"
    finally:
        await _close(events)


async def _close(events: AsyncIterator[Event]) -> None:
    """Aborts the generation, also while we are being cancelled ourselves."""
    if isinstance(events, AsyncGenerator):
        with anyio.move_on_after(1, shield=True):
            await events.aclose()


def confidence(score: float, probability: float) -> float:
    """Retrieval's score; a model that wavered over the entry takes up to half of it away."""
    return round(score * (0.5 + 0.5 * max(0.0, min(1.0, probability))), 3)
