"""The diagnosis pipeline's view of the engine. Knows nothing of reports and manuals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from lineside.engine.bundle import Manifest
from lineside.ports import Call, ChatMessage, GenerateJob
from lineside.serving.request import EndEvent, Event, FinishReason, Principal, Sampling
from lineside.serving.service import GenerationService

# Before the first answer has shown how long answers are.
FIRST_GUESS_TOKENS = 60
SMOOTHING = 0.2
# Who asks for what no client asked for.
PRINCIPAL = Principal("lineside", "daemon")


@dataclass(slots=True)
class EngineWriter:
    """Implements diagnosis.pipeline.Writer; learns how many tokens the model picks for an answer.

    `thinking_tokens`: how long a reasoning model may think before it.
    """

    service: GenerationService
    manifest: Manifest
    thinking_tokens: int = 0
    _picked_tokens: float = FIRST_GUESS_TOKENS

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the bundle declares."""
        return self.manifest.languages

    @property
    def model_name(self) -> str:
        """The bundle's name and precision."""
        return f"{self.manifest.name}-{self.manifest.precision}"

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` has."""
        return self.service.count_tokens(text)

    def prompt_budget(self, max_tokens: int) -> int:
        """Tokens that a prompt may have beside an answer of `max_tokens`."""
        return self.manifest.max_seq_len - max_tokens - self.service.framing_tokens(self.thinking_tokens)

    async def warm_up(self, messages: Sequence[ChatMessage], timeout_s: float) -> None:
        """Read `messages` in and write one token."""
        call = Call(PRINCIPAL, time.monotonic_ns() + round(timeout_s * 1e9))
        job = GenerateJob(call, messages=tuple(messages), sampling=Sampling(max_tokens=1), thinking_tokens=0)
        async for _ in self.service.generate(job):
            pass

    async def beginning(self, one: Sequence[ChatMessage], other: Sequence[ChatMessage]) -> list[int]:
        """The tokens that prompts of both begin with."""
        call = Call(PRINCIPAL, 0)
        jobs = [
            GenerateJob(call, messages=tuple(messages), thinking_tokens=self.thinking_tokens)
            for messages in (one, other)
        ]
        return await self.service.beginning(*jobs)

    async def write(
        self, messages: Sequence[ChatMessage], json_schema: str, call: Call, max_tokens: int
    ) -> AsyncIterator[Event]:
        """A guided greedy generation; see ports.Generator."""
        job = GenerateJob(
            call,
            messages=tuple(messages),
            sampling=Sampling(max_tokens=max_tokens),
            json_schema=json_schema,
            thinking_tokens=self.thinking_tokens,
        )
        async for event in self.service.generate(job, round(self._picked_tokens)):
            if isinstance(event, EndEvent) and event.finish is FinishReason.STOP:
                # Forced tokens go several at a time: those that are picked one by one take the time.
                picked = event.usage.completion_tokens - event.usage.forced_tokens
                self._picked_tokens += SMOOTHING * (picked - self._picked_tokens)
            yield event


def writer_of(service: GenerationService, manifest: Manifest, thinking_tokens: int | None) -> EngineWriter:
    """A writer whose thoughts are as long as was configured, else as the bundle says."""
    own = manifest.thinking.tokens if manifest.thinking else 0
    wanted = own if thinking_tokens is None else thinking_tokens
    return EngineWriter(service, manifest, wanted if manifest.thinking else 0)
