"""Scoring: log probabilities of given tokens, beside generations, within a deadline."""

import math

import anyio
import numpy as np
import pytest
from tests.unit.serving.test_service import VOCAB, bundle, collect, engine_of, job, running

from lineside.engine.base import Costs
from lineside.errors import Reason, RejectedError
from lineside.ports import ScoreJob
from lineside.serving.request import FinishReason
from lineside.serving.tokenizer import Tokenizer

__all__ = ["bundle"]

pytestmark = pytest.mark.anyio
# What CountingEngine gives: one logit of 10, all others 0.
SUM = math.log(math.exp(10) + VOCAB - 1)


def score_job(prompt, text, **options):
    return ScoreJob(job(**options).call, prompt, text)


def expected(engine, bundle, prompt, text):
    tokens, texts = Tokenizer(bundle).encode(prompt), Tokenizer(bundle).encode_more(text)
    read = [*tokens, *texts]
    return tuple(
        (10.0 if engine._choose(read[:place]) == read[place] else 0.0) - SUM
        for place in range(len(tokens), len(read))
    )


@pytest.mark.parametrize("prompt", ["entry", "a manual's entry that takes three chunks"])
@pytest.mark.parametrize("text", ["x", "belt slips, then"])
async def test_each_token_is_scored_behind_all_before_it(bundle, prompt, text):
    known = Tokenizer(bundle).encode(prompt + text)
    # Likeliest is what comes next in the text, at every second place.
    engine = engine_of(bundle, choose=lambda read: known[len(read)] if len(read) % 2 else 3)
    async with running(bundle, engine) as service:
        end = await service.score(score_job(prompt, text))
    assert end.logprobs == pytest.approx(expected(engine, bundle, prompt, text))
    assert (end.finish, end.reason) == (FinishReason.STOP, None)
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (len(prompt) + len(text), 0)
    assert 0 <= end.timings.queue_ms <= end.timings.first_token_ms <= end.timings.total_ms
    wanted = sum(len(extension.rows) for batch in engine.batches for extension in batch)
    assert wanted == len(text)


async def test_where_single_steps_are_cheaper_the_scores_are_the_same(bundle):
    engine = engine_of(bundle, costs=Costs((1,) * 4, 10**6, 10**6))
    async with running(bundle, engine) as service:
        end = await service.score(score_job("entry", "belt slips"))
    assert {len(extension.tokens) for batch in engine.batches for extension in batch} == {1}
    assert end.logprobs == pytest.approx(expected(engine, bundle, "entry", "belt slips"))


async def test_logits_on_a_device_are_scored_too(bundle):
    class OnDevice:
        def __init__(self, row):
            self._row = row

        def __array__(self, dtype=None, copy=None):
            return self._row

    engine = engine_of(bundle)
    forward = engine.forward
    engine.forward = lambda batch: [[OnDevice(np.array(row)) for row in rows] for rows in forward(batch)]
    async with running(bundle, engine) as service:
        end = await service.score(score_job("entry", "belt slips"))
    assert end.logprobs == pytest.approx(expected(engine, bundle, "entry", "belt slips"))


async def test_scoring_and_generating_change_nothing_for_each_other(bundle):
    engine = engine_of(bundle, slots=2)
    ends = {}

    async def score(service, text):
        ends[text] = await service.score(score_job("an entry of some length", text))

    async def write(service, prompt):
        ends[prompt] = (await collect(service, job(prompt, max_tokens=9)))[-1]

    async with running(bundle, engine) as service, anyio.create_task_group() as group:
        for text in ("one", "two two two two"):
            group.start_soon(score, service, text)
            group.start_soon(write, service, f"prompt {text}")
    for text in ("one", "two two two two"):
        found = ends[text].logprobs
        assert found == pytest.approx(expected(engine, bundle, "an entry of some length", text))
        assert ends[f"prompt {text}"].usage.completion_tokens == 9


@pytest.mark.parametrize(("prompt", "text"), [("", "text"), ("entry", "")])
async def test_an_empty_part_is_refused_by_its_name(bundle, prompt, text):
    async with running(bundle, engine_of(bundle)) as service:
        with pytest.raises(RejectedError) as caught:
            await service.score(score_job(prompt, text))
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, "text" if prompt else "prompt")


async def test_what_does_not_fit_is_refused(bundle):
    async with running(bundle, engine_of(bundle)) as service:
        assert len((await service.score(score_job("x" * 60, "abc"))).logprobs) == 3
        with pytest.raises(RejectedError, match="at most 63 fit") as caught:
            await service.score(score_job("x" * 60, "abcd"))
    assert caught.value.reason is Reason.TOO_LONG


async def test_what_cannot_be_read_in_time_is_refused(bundle):
    engine = engine_of(bundle, costs=Costs((10**9,) * 4, 10**9, 10**9))
    async with running(bundle, engine) as service:
        with pytest.raises(RejectedError) as caught:
            await service.score(score_job("entry", "text", timeout_s=2))
    assert caught.value.reason is Reason.DEADLINE


async def test_a_deadline_that_passes_ends_it_without_scores(bundle):
    engine = engine_of(bundle)
    engine.gate.clear()
    async with running(bundle, engine) as service, anyio.create_task_group() as group:
        # 40 tokens take three steps; the first one lasts longer than there is time.
        group.start_soon(engine_opens, engine)
        end = await service.score(score_job("x" * 20, "y" * 40, timeout_s=0.05))
    assert (end.finish, end.reason, end.logprobs) == (FinishReason.ABORTED, Reason.DEADLINE, ())


async def engine_opens(engine):
    await anyio.sleep(0.1)
    engine.gate.set()


async def test_who_leaves_frees_the_slot(bundle):
    engine = engine_of(bundle, slots=1)
    engine.gate.clear()
    async with running(bundle, engine) as service:
        with anyio.move_on_after(0.05):
            await service.score(score_job("x" * 20, "y" * 40))
        engine.gate.set()
        assert len((await service.score(score_job("entry", "abc"))).logprobs) == 3
        assert service.live == 0


async def test_scored_tokens_are_not_counted_as_written(bundle):
    async with running(bundle, engine_of(bundle)) as service:
        await service.score(score_job("entry", "some text"))
        assert service._worker._pacer.tokens == 0
        await collect(service, job(max_tokens=3))
        assert service._worker._pacer.tokens == 3
