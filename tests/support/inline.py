"""Generations through a worker whose steps the test itself runs: no thread, no waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lineside.engine.base import Engine
from lineside.serving.commands import Submit
from lineside.serving.delivery import Delivery
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import EndEvent, Event, Principal, Request, Sampling
from lineside.serving.sequence import Generation
from lineside.serving.tokenizer import Tokenizer
from lineside.serving.worker import Worker

NEVER_NS = 1 << 62


@dataclass
class Answer:
    """What one request heard; its tokens are those of its events."""

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    end: EndEvent | None = None

    def hear(self, event: Event) -> None:
        """One of its events."""
        if isinstance(event, EndEvent):
            assert self.end is None
            assert event.reason is None, event.message
            self.end = event
        else:
            self.tokens += event.tokens
            self.text += event.text


def run_inline(
    engine: Engine,
    text: tuple[Tokenizer, GrammarCompiler],
    jobs: Sequence[tuple[str, Sampling, str | None]],
) -> list[Answer]:
    """The answers to (prompt, sampling, schema), all submitted at once."""
    tokenizer, grammars = text
    worker = Worker(engine, Delivery(lambda _: None), _fail)
    answers = [Answer() for _ in jobs]
    for index, (prompt, sampling, schema) in enumerate(jobs):
        request = Request(
            str(index), tuple(tokenizer.encode(prompt)), NEVER_NS, Principal("p", "t"), sampling, schema
        )
        grammar = grammars.compile(schema) if schema else None
        cap = engine.capabilities.max_seq_len
        worker.send(Submit(Generation(request, tokenizer, grammar, cap, answers[index].hear, 0)))
    while any(answer.end is None for answer in answers):
        assert worker.turn()
    return answers


def _fail(error: Exception) -> None:
    raise error
