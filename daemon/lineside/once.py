"""Idempotency keys: the same key with the same request gets the stored answer. Knows nothing of gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import msgspec

from lineside.closing import Closing
from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Report
from lineside.journal import Journal
from lineside.ports import Call, Diagnoser, DiagnosisEvent, GenerateJob, Generator
from lineside.serving.request import EndEvent, Event, FinishReason, TokenEvent

_Finished = tuple[tuple[TokenEvent, ...], EndEvent]


@dataclass(slots=True)
class _Lock:
    lock: anyio.Lock
    users: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    stored: bytes | None
    journal: Journal
    key: str
    digest: str

    async def remember(self, answer: bytes) -> None:
        await asyncio.wrap_future(self.journal.remember(self.key, self.digest, answer))


class Once:
    """One request of a key at a time: a second one waits for the first, then finds its answer."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._locks: dict[str, _Lock] = {}

    @contextlib.asynccontextmanager
    async def turn(self, kind: str, call: Call, request: bytes) -> AsyncIterator[_Turn]:
        """Hold the key of `call`; raises RejectedError(INVALID) where it belongs to another request."""
        key = f"{kind}:{call.principal.name}:{call.idempotency_key}"
        digest = hashlib.sha256(request).hexdigest()
        held = self._locks.setdefault(key, _Lock(anyio.Lock()))
        held.users += 1
        try:
            async with held.lock:
                stored = await asyncio.wrap_future(self._journal.recall(key, digest))
                yield _Turn(stored, self._journal, key, digest)
        finally:
            held.users -= 1
            if not held.users:
                del self._locks[key]


class OnceGenerator:
    """A Generator that replays finished generations: thought and answer whole, and their end."""

    def __init__(self, inner: Generator, once: Once) -> None:
        self._inner = inner
        self._once = once

    async def generate(self, job: GenerateJob) -> AsyncIterator[Event]:
        """See ports.Generator."""
        if not job.call.idempotency_key:
            async with Closing(self._inner.generate(job)) as events:
                async for event in events:
                    yield event
            return
        async with self._once.turn("generate", job.call, _asked(job)) as turn:
            if turn.stored is not None:
                pieces, end = msgspec.json.decode(turn.stored, type=_Finished)
                for piece in pieces:
                    yield piece
                yield end
                return
            written: list[TokenEvent] = []
            async with Closing(self._inner.generate(job)) as events:
                async for event in events:
                    if isinstance(event, TokenEvent):
                        written.append(event)
                    elif event.finish is not FinishReason.ABORTED:
                        await turn.remember(_encode(written, event))
                    yield event


class OnceDiagnoser:
    """A Diagnoser that replays finished diagnoses; an error is not an answer, and may be asked again."""

    def __init__(self, inner: Diagnoser, once: Once) -> None:
        self._inner = inner
        self._once = once

    async def diagnose(self, report: Report, call: Call) -> AsyncIterator[DiagnosisEvent]:
        """See ports.Diagnoser."""
        if not call.idempotency_key:
            async with Closing(self._inner.diagnose(report, call)) as events:
                async for event in events:
                    yield event
            return
        async with self._once.turn("diagnose", call, msgspec.json.encode(report)) as turn:
            if turn.stored is not None:
                yield msgspec.json.decode(turn.stored, type=Diagnosis)
                return
            async with Closing(self._inner.diagnose(report, call)) as events:
                async for event in events:
                    if isinstance(event, Diagnosis) and event.status != "error":
                        await turn.remember(msgspec.json.encode(event))
                    yield event


def _asked(job: GenerateJob) -> bytes:
    """Everything that decides what the answer is."""
    thinking = (job.thinking_tokens, job.show_thinking)
    return msgspec.json.encode((job.prompt, job.messages, job.sampling, job.json_schema, thinking))


def _encode(written: list[TokenEvent], end: EndEvent) -> bytes:
    """What was thought as one piece, and the answer as another."""
    pieces = []
    for thinking, group in itertools.groupby(written, lambda piece: piece.thinking):
        together = list(group)
        text = "".join(piece.text for piece in together)
        tokens = tuple(token for piece in together for token in piece.tokens)
        pieces.append(TokenEvent(text, tokens, thinking=thinking))
    return msgspec.json.encode((pieces, end))
