"""A writer whose every token is decided by the test, and the demo plant as a knowledge base."""

import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import llguidance
import pytest

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.ports import Call
from lineside.serving.request import EndEvent, FinishReason, Principal, Timings, TokenEvent, Usage
from lineside.serving.service import GenerationService
from lineside.writer import writer_of

DEMO = Path(__file__).parents[3] / "demo"
PRINCIPAL = Principal("tests", "test")


def call(timeout_s=30.0):
    return Call(PRINCIPAL, time.monotonic_ns() + int(timeout_s * 1e9))


def end(finish=FinishReason.STOP, reason=None, message=""):
    return EndEvent(finish, Usage(300, 40, 20), Timings(0.5, 12.0, 30.0), reason, message)


class ScriptedWriter:
    """Writes what `answer` makes of the schema, in pieces, and checks that the schema allows it."""

    model_name = "scripted"

    def __init__(self, answer=None, *, languages=("en", "zh"), probability=1.0, budget=2000):
        self.answer = answer or first_choice
        self.languages = languages
        self.probability = probability
        self.budget = budget
        self.calls = []
        self.closed = 0

    def count_tokens(self, text):
        return -(-len(text) // 3)

    def prompt_budget(self, max_tokens):
        return self.budget - max_tokens

    async def write(self, messages, json_schema, call, max_tokens):
        self.calls.append((messages, json_schema, call, max_tokens))
        try:
            text = self.answer(json.loads(json_schema))
            check(json_schema, text)
            for start in range(0, len(text), 7):
                await anyio.lowlevel.checkpoint()
                yield TokenEvent(text[start : start + 7], (1,), self.probability)
            yield end()
        finally:
            self.closed += 1


class FaultyWriter(ScriptedWriter):
    """Does `trouble(events so far)` after so many pieces."""

    def __init__(self, trouble, after=2, **options):
        super().__init__(**options)
        self.trouble = trouble
        self.after = after

    async def write(self, messages, json_schema, call, max_tokens):
        self.calls.append((messages, json_schema, call, max_tokens))
        try:
            for _ in range(self.after):
                yield TokenEvent('{"entry', (1,))
            async for event in self.trouble():
                yield event
        finally:
            self.closed += 1


def check(schema, text):
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_json_schema(schema))
    tokens = tokenizer.tokenize_str(text)
    assert matcher.try_consume_tokens(tokens) == len(tokens), text
    assert matcher.is_accepting(), text


def first_choice(schema, **changes):
    """The first of everything that is allowed."""
    shape = schema.get("anyOf", [schema])[0]
    return json.dumps(
        {name: changes.get(name, _first(part)) for name, part in shape["properties"].items()},
        separators=(",", ":"),
        ensure_ascii=False,
    )


def last_choice(schema):
    shape = schema.get("anyOf", [schema])[0]
    return json.dumps(
        {name: _last(part) for name, part in shape["properties"].items()}, separators=(",", ":")
    )


def _first(part):
    if "anyOf" in part:
        return part["anyOf"][0]["const"]
    return part["const"] if "const" in part else part["enum"][0]


def _last(part):
    if "anyOf" in part:
        return part["anyOf"][-1]["const"]
    return part["const"] if "const" in part else part["enum"][-1]


async def run(pipeline, report, a_call=None):
    """Every event; the last one is the diagnosis, and the only one."""
    events = [event async for event in pipeline.diagnose(report, a_call or call())]
    assert [isinstance(event, Diagnosis) for event in events].count(True) == 1
    assert isinstance(events[-1], Diagnosis)
    return events


@asynccontextmanager
async def writing(loaded, tallies):
    """A real model as the pipeline's writer."""
    text = (loaded.tokenizer, loaded.grammars)
    service = GenerationService(
        loaded.choice.engine, *text, max_waiting=4, on_failure=pytest.fail, tallies=tallies
    )
    try:
        yield writer_of(service, loaded.bundle.manifest, None)
    finally:
        await service.drain(5)
