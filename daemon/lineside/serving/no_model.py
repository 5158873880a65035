"""Generations where no model is served. Knows nothing of why there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator

from lineside.errors import Reason, RejectedError
from lineside.ports import GenerateJob
from lineside.serving.request import Event


class NoModel:
    """Implements ports.Generator: every generation is refused, and told `why`."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        """See ports.Generator."""
        raise RejectedError(Reason.NOT_FOUND, f"no model is served: {self._why}")
        yield  # what makes it a generator
