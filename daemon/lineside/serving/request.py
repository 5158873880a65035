"""What a client asked and what it hears back. Knows nothing of wires, engines or scheduling."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from lineside.errors import Reason

NS_PER_MS = 1e6


class Priority(enum.IntEnum):
    """Smaller is served first. Alarm severity maps onto it."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as the transport established it."""

    name: str
    transport: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are picked. temperature 0 is greedy; top_k 0 and top_p 1 switch those filters off."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One generation, or, where `scored_tokens` is more than 0, one scoring.

    `deadline_ns` is an instant of time.monotonic_ns(). `json_schema` guides the output. `expected_tokens` is
    how many tokens the answer needs before it is of use: admission predicts with it. `thinking_tokens` bounds
    what a reasoning model thinks beside its answer; `show_thinking`: the client hears that, too.
    `scored_tokens`: asked is how likely so many of the prompt's last tokens are; nothing is written.
    `lasting`: nobody waits for an answer, the prompt is read because others will begin with it.
    """

    id: str
    prompt: tuple[int, ...]
    deadline_ns: int
    principal: Principal
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: str | None = None
    priority: Priority = Priority.NORMAL
    expected_tokens: int = 1
    thinking_tokens: int = 0
    show_thinking: bool = False
    scored_tokens: int = 0
    lasting: bool = False

    @property
    def goal(self) -> int:
        """With fewer tokens, its prompt's among them, it is of no use.

        What is expected is a mean, and half of it still likely; a thought may be as short as it likes.
        """
        expected = self.expected_tokens - self.thinking_tokens
        return len(self.prompt) + (0 if self.scored_tokens else max(expected // 2, 1))


class FinishReason(str, enum.Enum):
    """How a generation that was carried out ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts. `forced_tokens` of the completion were decided by the grammar, not by the model.

    `thinking_tokens` came before the completion and are not part of it. `reused_tokens` of the prompt were
    cached already. `drafted_tokens` were guessed and checked, `accepted_tokens` of them were right.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    forced_tokens: int = 0
    thinking_tokens: int = 0
    reused_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in milliseconds, from admission."""

    queue_ms: float = 0.0
    first_token_ms: float = 0.0
    total_ms: float = 0.0

    @classmethod
    def between(cls, admitted_ns: int, started_ns: int, first_token_ns: int, now_ns: int) -> Timings:
        """Of these instants; one that is 0 has not come."""
        ends = (started_ns or now_ns, first_token_ns or now_ns, now_ns)
        return cls(*((end - admitted_ns) / NS_PER_MS for end in ends))


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """Text that became final. `probability`: the product over what the model chose within a grammar; else 1.

    `thinking`: it is no part of the answer; only whoever asked for it gets such events.
    """

    text: str
    tokens: tuple[int, ...]
    probability: float = 1.0
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The one terminal event. `reason` is set exactly when `finish` is ABORTED.

    `energy_j`: what the machine drew during this request's steps, shared with the others in the same steps;
    None where power is not measured. `logprobs`: of a scoring's tokens, each behind all before it.
    `retry_after_ms`: when one that had to give its place up may come back.
    """

    finish: FinishReason
    usage: Usage
    timings: Timings
    reason: Reason | None = None
    message: str = ""
    energy_j: float | None = None
    logprobs: tuple[float, ...] = ()
    retry_after_ms: int = 0


Event = TokenEvent | EndEvent
