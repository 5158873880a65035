"""The pipeline's reader over a real service: sums, what has no time, what ends early."""

import time

import pytest
from tests.unit.serving.test_scoring import expected
from tests.unit.serving.test_service import bundle, engine_of, running

from lineside.engine.base import Costs
from lineside.errors import Reason, RejectedError
from lineside.ports import Call
from lineside.reader import EngineReader
from lineside.serving.request import Principal, Priority

__all__ = ["bundle"]

pytestmark = pytest.mark.anyio
PROMPTS = ("no entry", "an entry", "another entry")


def a_call(timeout_s=20.0):
    return Call(Principal("tests", "test"), time.monotonic_ns() + int(timeout_s * 1e9), Priority.HIGH)


async def test_each_prompt_is_read_with_the_text_behind_it(bundle):
    engine = engine_of(bundle)
    async with running(bundle, engine) as service:
        heard = await EngineReader(service, "m").read(PROMPTS, " belt", a_call())
    sums = [sum(expected(engine, bundle, prompt, " belt")) for prompt in PROMPTS]
    assert heard.logprobs == pytest.approx(sums)
    assert heard.energy_j is None
    assert {extension.slot for batch in engine.batches for extension in batch} == {0}, "one slot, in turn"


async def test_what_cannot_be_read_to_its_end_in_time_is_not_begun(bundle):
    # A tenth of a second for each token: one prompt would do, three do not.
    engine = engine_of(bundle, costs=Costs((10**8,) * 4, 0, 10**8))
    async with running(bundle, engine) as service:
        reader = EngineReader(service, "m")
        with pytest.raises(RejectedError, match="reading needs about 44") as caught:
            await reader.read(PROMPTS, " belt", a_call(timeout_s=3))
        assert engine.batches == []
        await reader.read(PROMPTS[:1], " belt", a_call(timeout_s=3))
    assert caught.value.reason is Reason.DEADLINE


async def test_an_engine_fault_is_told_by_its_reason(bundle):
    engine = engine_of(bundle)
    engine.fail_next = 1
    async with running(bundle, engine) as service:
        with pytest.raises(RejectedError, match="made to fail") as caught:
            await EngineReader(service, "m").read(PROMPTS, " belt", a_call())
    assert caught.value.reason is Reason.ENGINE_FAULT


async def test_what_does_not_fit_the_bundle_is_refused(bundle):
    async with running(bundle, engine_of(bundle)) as service:
        with pytest.raises(RejectedError) as caught:
            await EngineReader(service, "m").read(("x" * 80,), " belt", a_call())
    assert caught.value.reason is Reason.TOO_LONG


async def test_control_tokens_in_a_report_are_read_as_text(bundle):
    async with running(bundle, engine_of(bundle)) as service:
        end = service._tokenizer._special[0]
        heard = await EngineReader(service, "m").read(("entry " + end,), "x" + end, a_call())
        plain = service._tokenizer.encode_more("x" + end[0] + " " + end[1:])
    assert len(plain) > len(service._tokenizer.encode_more("x" + end))
    assert len(heard.logprobs) == 1
