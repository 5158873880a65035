"""Asks labelled reports of the real pipeline, one after the other. Knows nothing of sums or of files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.draft import Draft
from lineside.diagnosis.knowledge.fusion import Calibration
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.knowledge.vectors import Embedder, Vectors
from lineside.diagnosis.pipeline import Pipeline
from lineside.diagnosis.rereading import find
from lineside.diagnosis.writer import Heard, Reader, Writer
from lineside.evaluation.cases import Case
from lineside.evaluation.outcome import Outcome, outcome_of
from lineside.ports import Call, ChatMessage
from lineside.serving.request import Event, Principal

MAX_ENTRIES = 5
_PRINCIPAL = Principal("eval", "local")

RULES = "rules"
Mode = Literal["rules", "model"]


@dataclass(frozen=True, slots=True)
class By:
    """Who answers: rules, where there is no writer; the reader looks over what is in another language."""

    writer: Writer | None = None
    reader: Reader | None = None

    @property
    def name(self) -> str:
        """As tables and files call it."""
        if self.writer is not None:
            return self.writer.model_name
        return f"{RULES}, reread by {self.reader.model_name}" if self.reader else RULES


@contextlib.contextmanager
def open_bases(
    paths: Mapping[str, Path],
    embedder: Embedder | None,
    advance: Callable[[str], None],
    calibration: Calibration | None = None,
) -> Iterator[dict[str, Searcher]]:
    """A searcher for each knowledge base, with its vectors ready. `advance` hears of each base."""
    with contextlib.ExitStack() as stack:
        searchers = {}
        for name, path in paths.items():
            advance(name)
            store = Store(path)
            stack.callback(store.close)
            vectors = Vectors(store, embedder) if embedder else None
            if vectors is not None:
                stack.callback(vectors.close)
                vectors.wait()
            searchers[name] = Searcher(store, MAX_ENTRIES, vectors, calibration)
        yield searchers


@dataclass(slots=True)
class Listening:
    """A writer, and how likely it held the entry that it chose last."""

    writer: Writer
    choice: float = 1.0

    @property
    def model_name(self) -> str:
        """See Writer."""
        return self.writer.model_name

    @property
    def languages(self) -> Sequence[str]:
        """See Writer."""
        return self.writer.languages

    def count_tokens(self, text: str) -> int:
        """See Writer."""
        return self.writer.count_tokens(text)

    def prompt_budget(self, max_tokens: int) -> int:
        """See Writer."""
        return self.writer.prompt_budget(max_tokens)

    async def warm_up(self, messages: Sequence[ChatMessage], timeout_s: float) -> None:
        """See Writer."""
        await self.writer.warm_up(messages, timeout_s)

    async def write(
        self, messages: Sequence[ChatMessage], json_schema: str, call: Call, max_tokens: int
    ) -> AsyncIterator[Event]:
        """See Writer."""
        draft = Draft()
        events = self.writer.write(messages, json_schema, call, max_tokens)
        async for event in events:
            draft.take(event)
            self.choice = draft.probability
            yield event


@dataclass(slots=True)
class Remembering:
    """A reader that tells once more what it heard last, so that an answer's own search can be looked at."""

    reader: Reader
    _last: tuple[object, Heard] | None = None

    @property
    def model_name(self) -> str:
        """See Reader."""
        return self.reader.model_name

    async def read(self, prompts: Sequence[str], text: str, call: Call) -> Heard:
        """See Reader."""
        asked = (tuple(prompts), text)
        if self._last is None or self._last[0] != asked:
            self._last = (asked, await self.reader.read(prompts, text, call))
        return self._last[1]


async def ask(
    cases: Sequence[Case],
    searchers: Mapping[str, Searcher],
    by: By,
    *,
    timeout_s: float,
    advance: Callable[[], None],
) -> list[Outcome]:
    """Every case's outcome, in order."""
    mode: Mode = "rules" if by.writer is None else "model"
    listening = None if by.writer is None else Listening(by.writer)
    remembering = None if by.reader is None else Remembering(by.reader)
    pipelines = {
        name: Pipeline(searcher, listening, reader=remembering, mode=mode)
        for name, searcher in searchers.items()
    }
    outcomes = []
    for case in cases:
        searcher, query = searchers[case.kb], Query.of(case.report)
        found = searcher.search(query)
        begun_s = time.monotonic()
        call = Call(_PRINCIPAL, time.monotonic_ns() + int(timeout_s * 1e9))
        diagnosis = await _diagnosed(pipelines[case.kb], case, call)
        latency_ms = round((time.monotonic() - begun_s) * 1000, 3)
        if found.unread:
            found = (await find(searcher, query, remembering, call, timeout_s)).retrieval
        by_text = diagnosis.mode == "model" and found.candidates[0].by == "text"
        choice = listening.choice if listening and by_text else None
        outcomes.append(outcome_of(case, found, diagnosis, choice=choice, latency_ms=latency_ms))
        advance()
    return outcomes


async def _diagnosed(pipeline: Pipeline, case: Case, call: Call) -> Diagnosis:
    async for event in pipeline.diagnose(case.report, call):
        if isinstance(event, Diagnosis):
            return event
    raise AssertionError("the pipeline ends with a diagnosis")
