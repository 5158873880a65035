"""Generations where no model is served. Knows nothing of why there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator

from lineside.errors import Reason, RejectedError
from lineside.ports import GenerateJob
from lineside.serving.request import Event


class NoModel:
    """Implements ports.Generator: every generation is refused."""

    async def generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        """See ports.Generator."""
        raise RejectedError(Reason.NOT_FOUND, "no model is served: [diagnosis] mode is rules")
        yield  # what makes it a generator
