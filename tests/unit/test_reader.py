"""The pipeline's reader over a real service: sums, what has no time, what ends early."""

import time

import anyio
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


async def test_a_scoring_that_gives_its_place_up_says_when_to_come_back(bundle):
    engine, caught = engine_of(bundle, slots=1), []

    async def read(service, priority):
        call = Call(Principal("tests", "test"), time.monotonic_ns() + 20 * 10**9, priority)
        try:
            await EngineReader(service, "m").read(PROMPTS[:1], " belt", call)
        except RejectedError as refusal:
            caught.append(refusal)

    engine.gate.clear()
    async with running(bundle, engine, max_waiting=1) as service, anyio.create_task_group() as group:
        for number, priority in enumerate((Priority.LOW, Priority.LOW, Priority.HIGH), 1):
            group.start_soon(read, service, priority)
            with anyio.fail_after(5):
                while service.live < number:
                    await anyio.sleep(0.001)
            await anyio.sleep(0.02)  # the first has to be in a step before the others come
        engine.gate.set()
    (refusal,) = caught
    assert refusal.reason is Reason.OVERLOAD
    assert refusal.retry_after_ms >= 1


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
