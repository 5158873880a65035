import time

import anyio
import pytest

from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis, encode_diagnosis
from lineside.diagnosis.report import Alarm, Device, Report
from lineside.errors import Reason, RejectedError
from lineside.journal import Journal
from lineside.journal_file import Limits
from lineside.once import Once, OnceDiagnoser, OnceGenerator
from lineside.ports import Call, GenerateJob, Written
from lineside.serving.request import EndEvent, FinishReason, Principal, Sampling, Timings, TokenEvent, Usage

pytestmark = pytest.mark.anyio


@pytest.fixture
def once(tmp_path):
    journal = Journal(tmp_path / "journal.db", Limits(100, 1 << 26))
    yield Once(journal)
    journal.close()


def call(key="k", who="grpc:a"):
    return Call(Principal(who, "grpc"), time.monotonic_ns() + 10**10, idempotency_key=key)


def end(finish=FinishReason.STOP):
    reason = Reason.DEADLINE if finish is FinishReason.ABORTED else None
    return EndEvent(finish, Usage(3, 2, 1), Timings(1, 2, 3), reason)


class Counting:
    """A generator and diagnoser that counts how often it is asked."""

    def __init__(self, finish=FinishReason.STOP, status="ok"):
        self.finish, self.status, self.asked = finish, status, 0

    async def generate(self, job):
        self.asked += 1
        await anyio.sleep(0.01)
        yield TokenEvent("a", (1,))
        yield TokenEvent("bc", (2, 3))
        yield end(self.finish)

    async def diagnose(self, report, _call):
        self.asked += 1
        yield Written("...")
        yield Diagnosis(
            id=str(self.asked),
            diagnosis_id="D",
            dev=DeviceRef(id=report.dev.id),
            alarm=AlarmRef(),
            received_at="",
            status=self.status,
            mode="model",
            severity="low",
            lang="en",
            timings={"prompt_tokens": 300, "total_ms": 2.0, "energy_j": None},
        )


REPORT = Report(dev=Device(id="d"), alarm=Alarm(code="1"))


async def collect(events):
    return [event async for event in events]


async def test_without_a_key_every_request_runs(once):
    inner = Counting()
    for _ in range(2):
        await collect(OnceGenerator(inner, once).generate(GenerateJob(call(""), prompt="x")))
        await collect(OnceDiagnoser(inner, once).diagnose(REPORT, call("")))
    assert inner.asked == 4


async def test_the_same_request_is_replayed(once):
    inner = Counting()
    outer = OnceGenerator(inner, once)
    first = await collect(outer.generate(GenerateJob(call(), prompt="x")))
    again = await collect(outer.generate(GenerateJob(call(), prompt="x")))
    assert inner.asked == 1
    assert again == [TokenEvent("abc", (1, 2, 3)), first[-1]]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "y"},
        {"prompt": "x", "sampling": Sampling(max_tokens=9)},
        {"prompt": "x", "thinking_tokens": 9},
        {"prompt": "x", "show_thinking": True},
    ],
)
async def test_the_key_of_another_request_is_invalid(once, other):
    outer = OnceGenerator(Counting(), once)
    await collect(outer.generate(GenerateJob(call(), prompt="x")))
    with pytest.raises(RejectedError) as caught:
        await collect(outer.generate(GenerateJob(call(), **other)))
    assert caught.value.reason is Reason.INVALID


async def test_a_thought_is_replayed_as_one(once):
    class Thinking(Counting):
        async def generate(self, job):
            yield TokenEvent("h", (7,), thinking=True)
            yield TokenEvent("m", (8,), thinking=True)
            async for event in super().generate(job):
                yield event

    outer = OnceGenerator(Thinking(), once)
    first = await collect(outer.generate(GenerateJob(call(), prompt="x", show_thinking=True)))
    again = await collect(outer.generate(GenerateJob(call(), prompt="x", show_thinking=True)))
    assert again == [TokenEvent("hm", (7, 8), thinking=True), TokenEvent("abc", (1, 2, 3)), first[-1]]


async def test_keys_of_other_clients_are_other_keys(once):
    inner = Counting()
    outer = OnceGenerator(inner, once)
    await collect(outer.generate(GenerateJob(call(who="grpc:a"), prompt="x")))
    await collect(outer.generate(GenerateJob(call(who="grpc:b"), prompt="y")))
    assert inner.asked == 2


async def test_an_aborted_generation_may_be_asked_again(once):
    inner = Counting(FinishReason.ABORTED)
    outer = OnceGenerator(inner, once)
    for _ in range(2):
        await collect(outer.generate(GenerateJob(call(), prompt="x")))
    assert inner.asked == 2


async def test_requests_of_one_key_at_the_same_time_run_once(once):
    inner = Counting()
    outer = OnceGenerator(inner, once)
    results = []

    async def ask():
        results.append(await collect(outer.generate(GenerateJob(call(), prompt="x"))))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
    assert inner.asked == 1
    assert len({events[-1] for events in results}) == 1
    assert once._locks == {}


async def test_a_diagnosis_is_replayed_and_an_error_is_not(once):
    inner = Counting()
    outer = OnceDiagnoser(inner, once)
    first = (await collect(outer.diagnose(REPORT, call())))[-1]
    (again,) = await collect(outer.diagnose(REPORT, call()))
    assert encode_diagnosis(again) == encode_diagnosis(first)
    failing = Counting(status="error")
    outer = OnceDiagnoser(failing, once)
    for _ in range(2):
        await collect(outer.diagnose(REPORT, call("other")))
    assert failing.asked == 2
