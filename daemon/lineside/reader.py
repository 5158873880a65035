"""The diagnosis pipeline's way to a model's likelihoods. Knows nothing of reports, manuals and rankings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from lineside.diagnosis.writer import Heard
from lineside.errors import Reason, RejectedError
from lineside.ports import Call, ScoreJob
from lineside.serving.service import GenerationService

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class EngineReader:
    """Implements diagnosis.writer.Reader: one scoring after the other, so that others' steps come between."""

    service: GenerationService
    model_name: str

    async def read(self, prompts: Sequence[str], text: str, call: Call) -> Heard:
        """See Reader. What cannot be read to its end in time is not begun."""
        await anyio.to_thread.run_sync(self._check_time, prompts, text, call)
        found: list[float] = []
        joules: list[float] = []
        for prompt in prompts:
            end = await self.service.score(ScoreJob(call, prompt, text))
            if end.reason is not None:
                raise RejectedError(end.reason, end.message, retry_after_ms=end.retry_after_ms)
            found.append(sum(end.logprobs))
            joules += [] if end.energy_j is None else [end.energy_j]
        return Heard(tuple(found), sum(joules) if joules else None)

    def _check_time(self, prompts: Sequence[str], text: str, call: Call) -> None:
        """Blocking: counts tokens."""
        behind = self.service.count_tokens(text)
        lengths = [self.service.count_tokens(prompt) + behind for prompt in prompts]
        needed_ms = sum(map(self.service.reading_ns, lengths)) // NS_PER_MS
        left_ms = (call.deadline_ns - time.monotonic_ns()) // NS_PER_MS
        if needed_ms > left_ms:
            message = f"reading needs about {needed_ms} ms, {left_ms} ms are left"
            raise RejectedError(Reason.DEADLINE, message)
