"""What serving counts of itself. Knows nothing of how it is told.

The engine's thread counts steps, the event loop requests: nothing is counted by both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from lineside.errors import Reason, RejectedError
from lineside.serving.request import EndEvent, FinishReason, Priority
from lineside.telemetry.histogram import Histogram

NS_PER_S, MS_PER_S = 1e9, 1e3

StepKind = Literal["decode", "chunk"]

# Seconds. The first three have the bounds that vLLM's users know.
FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
TOKEN_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0),
    *(30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
STEP_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Load:
    """What is admitted now; who gave its slot to another waits.

    `cached` is the share of all cache positions that running sequences fill.
    """

    running: int
    waiting: dict[Priority, int]
    cached: float


@dataclass(slots=True)
class Tallies:
    """Since the start. One writer for each field, any thread reads.

    `overhead_ns`: what the engine's thread did between steps, while it had work and did not have to wait.
    """

    steps: dict[StepKind, Histogram] = field(
        default_factory=lambda: {"decode": Histogram(STEP_S), "chunk": Histogram(STEP_S)}
    )
    between_tokens: Histogram = field(default_factory=lambda: Histogram(TOKEN_S))
    overhead_ns: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    forced_tokens: int = 0
    thinking_tokens: int = 0
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_S))
    queued: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    whole: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    ended: Counter[FinishReason] = field(default_factory=Counter)
    aborted: Counter[Reason] = field(default_factory=Counter)
    refused: Counter[Reason] = field(default_factory=Counter)
    load: Callable[[], Load] = lambda: Load(0, {}, 0.0)

    def stepped(self, kind: StepKind, engine_ns: int, overhead_ns: int) -> None:
        """A step has run."""
        self.steps[kind].observe(engine_ns / NS_PER_S)
        self.overhead_ns += overhead_ns

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Counts a request that its block refuses."""
        try:
            yield
        except RejectedError as refusal:
            self.refused[refusal.reason] += 1
            raise

    def end(self, event: EndEvent) -> None:
        """A request has ended. Its times count where it had any: of the queue, once it left that."""
        usage, timings = event.usage, event.timings
        self.ended[event.finish] += 1
        if event.reason is not None:
            self.aborted[event.reason] += 1
        self.prompt_tokens += usage.prompt_tokens
        self.reused_tokens += usage.reused_tokens
        self.drafted_tokens += usage.drafted_tokens
        self.accepted_tokens += usage.accepted_tokens
        self.forced_tokens += usage.forced_tokens
        self.thinking_tokens += usage.thinking_tokens
        self.queued.observe(timings.queue_ms / MS_PER_S)
        self.whole.observe(timings.total_ms / MS_PER_S)
        if usage.completion_tokens > usage.forced_tokens:
            self.first_token.observe(timings.first_token_ms / MS_PER_S)
