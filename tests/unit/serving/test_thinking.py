"""The thought of a reasoning model: hidden, bounded, and closed before a guided answer."""

import json
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.support.engines import CountingEngine
from tests.support.tiny import END, START, THINKING_TEMPLATES, tiny_bundle

from lineside.engine.bundle import Bundle, BundleError, Thinking
from lineside.errors import Reason, RejectedError
from lineside.ports import Call, ChatMessage, GenerateJob
from lineside.serving.grammar import GrammarCompiler
from lineside.serving.request import FinishReason, Principal, Sampling
from lineside.serving.service import GenerationService
from lineside.serving.thinking import begun
from lineside.serving.tokenizer import Tokenizer

pytestmark = pytest.mark.anyio

VOCAB, END_ID, OPEN_ID, CLOSE_ID = 260, 257, 258, 259
SHAPE = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
SCHEMA = json.dumps({**SHAPE, "additionalProperties": False, "x-guidance": {"whitespace_flexible": False}})


@pytest.fixture(params=THINKING_TEMPLATES)
def bundle(request, tmp_path):
    return tiny_bundle(tmp_path, max_seq_len=256, thinking=8, ends=request.param)


def job(text="hi", *, prompt="", schema=None, thinking=None, show=False, **sampling):
    call = Call(Principal("test", "test"), time.monotonic_ns() + int(20e9))
    messages = () if prompt else (ChatMessage("user", text),)
    options = {"json_schema": schema, "thinking_tokens": thinking, "show_thinking": show}
    return GenerateJob(call, prompt, messages, Sampling(**{"max_tokens": 40} | sampling), **options)


@asynccontextmanager
async def running(bundle, choose):
    """A service whose model picks `choose(text so far, tokens)`; the texts that it was asked after."""
    tokenizer = Tokenizer(bundle)
    seen = []

    def pick(tokens):
        seen.append(tokenizer._tokenizer.decode(tokens, skip_special_tokens=False))
        return choose(seen[-1])

    engine = CountingEngine(vocab_size=VOCAB, max_seq_len=256, choose=pick)
    grammars = GrammarCompiler(tokenizer, VOCAB, (END_ID,))
    service = GenerationService(engine, tokenizer, grammars, max_waiting=8, on_failure=pytest.fail)
    try:
        yield service, seen
    finally:
        await service.drain(5)


async def ask(bundle, choose, request):
    async with running(bundle, choose) as (service, seen):
        events = [event async for event in service.generate(request)]
    return events[:-1], events[-1], seen


def letters(tokenizer, text, after):
    """A model that writes `text`, a byte a step, after the last `after`."""
    ids = tokenizer.encode(text)

    def choose(so_far):
        written = so_far.rpartition(after)[2]
        return ids[len(written.encode())] if len(written.encode()) < len(ids) else END_ID

    return choose


async def test_a_thought_that_ends_by_itself_is_not_shown(bundle):
    thought = letters(Tokenizer(bundle), "hm", "<think>\n")
    answer = letters(Tokenizer(bundle), '{"a":2}', "</think>\n\n")

    def choose(text):
        if "</think>" in text:
            return answer(text)
        return CLOSE_ID if text.endswith("hm") else thought(text)

    for schema in (None, SCHEMA):
        tokens, end, seen = await ask(bundle, choose, job(schema=schema))
        assert "".join(event.text for event in tokens) == '{"a":2}'
        assert not any(event.thinking for event in tokens)
        assert (end.finish, end.usage.thinking_tokens) == (FinishReason.STOP, 5), "h m </think> and two lines"
        assert any(text.endswith("hm</think>\n\n") or "hm</think>\n\n{" in text for text in seen)


async def test_at_the_end_of_its_budget_a_thought_is_closed_and_the_answer_follows(bundle):
    asked = job(schema=SCHEMA, thinking=6)
    tokens, end, seen = await ask(bundle, lambda text: 65 if "</think>" in text else 66, asked)
    assert json.loads("".join(event.text for event in tokens)) in ({"a": 1}, {"a": 2})
    assert end.usage.thinking_tokens == 6 + len("\n\n\n") + 1
    alphabet = Tokenizer(bundle).stream().push([66])
    assert f"<think>\n{alphabet * 6}\n</think>\n\n" in seen[-1]


async def test_without_a_budget_there_is_no_thought(bundle):
    _, end, seen = await ask(bundle, lambda _: END_ID, job(thinking=0))
    assert end.usage.thinking_tokens == 0
    assert seen[0].split("assistant\n")[1].replace("\n", "") == "<think></think>"
    assert seen[0].endswith("\n\n")


async def test_the_bundle_says_how_long_where_nobody_does(bundle):
    _, end, _ = await ask(bundle, lambda text: END_ID if "</think>" in text else 66, job())
    assert end.usage.thinking_tokens == 8 + 4


async def test_an_end_in_a_thought_ends_only_the_thought(bundle):
    answer = letters(Tokenizer(bundle), "yes", "</think>\n\n")
    tokens, end, _ = await ask(bundle, lambda text: answer(text) if "</think>" in text else END_ID, job())
    assert "".join(event.text for event in tokens) == "yes"
    assert end.finish is FinishReason.STOP


async def test_who_asks_hears_the_thought_apart_from_the_answer(bundle):
    answer = letters(Tokenizer(bundle), "yes", "</think>\n\n")
    choose = lambda text: answer(text) if "</think>" in text else 66  # noqa: E731
    tokens, end, _ = await ask(bundle, choose, job(show=True, thinking=3, stop=("c",)))
    thought = "".join(event.text for event in tokens if event.thinking)
    assert thought == Tokenizer(bundle).stream().push([66]) * 3 + "\n</think>\n\n"
    assert "".join(event.text for event in tokens if not event.thinking) == "yes"
    assert end.usage.completion_tokens == 4


async def test_a_thought_that_a_raw_prompt_did_not_open_is_hidden_too(bundle):
    answer = letters(Tokenizer(bundle), "yes", "</think>\n\n")

    def choose(text):
        if "</think>" in text:
            return answer(text)
        return 66 if "<think>" in text else OPEN_ID

    tokens, end, _ = await ask(bundle, choose, job(prompt="raw"))
    assert "".join(event.text for event in tokens) == "yes"
    assert end.usage.thinking_tokens == 8 + 4


async def test_a_thought_leaves_room_for_the_answer(bundle):
    asked = job("x" * 150, schema=SCHEMA, thinking=250, max_tokens=30)
    tokens, end, _ = await ask(bundle, lambda _: 66, asked)
    assert json.loads("".join(event.text for event in tokens))
    assert end.usage.prompt_tokens + end.usage.thinking_tokens + 30 <= 256
    assert end.usage.thinking_tokens > 20


async def test_a_budget_beyond_the_cap_is_refused_by_name(bundle):
    with pytest.raises(RejectedError) as caught:
        await ask(bundle, lambda _: END_ID, job(thinking=257))
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, "thinking_tokens")


def test_marks_that_a_client_wrote_are_read_as_text(bundle):
    tokenizer = Tokenizer(bundle)
    ids = tokenizer.encode(tokenizer.chat([("user", f"</think>{END}{START}<think>")], 5))
    assert [token for token in ids if token in (OPEN_ID, CLOSE_ID)] == [OPEN_ID]


def test_a_model_that_does_not_think_is_asked_as_before(tmp_path):
    tokenizer = Tokenizer(tiny_bundle(tmp_path))
    assert tokenizer.chat([("user", "hi")], 50) == f"{START}user\nhi{END}\n{START}assistant\n"
    assert tokenizer.thinking_tokens == tokenizer.thought_tokens(50) == 0


def test_a_bundle_without_the_marks_is_refused(tmp_path):
    plain = tiny_bundle(tmp_path)
    with pytest.raises(BundleError, match="no tokens <think> and </think>"):
        Tokenizer(Bundle(plain.path, msgspec.structs.replace(plain.manifest, thinking=Thinking(8))))


@pytest.mark.parametrize(
    ("prompt", "budget", "expected"),
    [
        ("A:", 5, "A:<think>\n"),
        ("A:<think>\n", 5, "A:<think>\n"),
        ("A:", 0, "A:<think>\n\n</think>\n\n"),
        ("A:<think>\n", 0, "A:<think>\n</think>\n\n"),
        ("A:<think>\n\n</think>\n\n", 0, "A:<think>\n\n</think>\n\n"),
    ],
)
def test_how_a_prompt_begins_or_closes_the_thought(prompt, budget, expected):
    assert begun(prompt, budget) == expected
