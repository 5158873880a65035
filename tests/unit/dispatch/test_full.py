"""Where there is no room: what needs nobody to look into it is answered all the same."""

import dataclasses

import anyio
import pytest
from tests.unit.dispatch.desk_parts import Bench, Diagnoser, incoming, working

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def nearly_full(bench, monkeypatch, is_so):
    monkeypatch.setattr("lineside.journal.nearly_full", lambda _: is_so)
    bench.journal.nearly_full = is_so


@pytest.fixture(params=["queue", "journal"])
def fill(request, monkeypatch):
    """Leaves no room, by what a desk is full of."""

    async def fill(bench):
        if request.param == "journal":
            nearly_full(bench, monkeypatch, True)
            return
        if bench.diagnoser.gate.is_set():
            bench.diagnoser.gate = anyio.Event()
        bench.accept(incoming("F900", id="full", device="L9/M9", dev={"id": "L9/M9"}))
        with anyio.fail_after(10):
            while bench.desk.pending < bench.desk.limits.max_pending:
                await anyio.sleep(0.01)

    return fill


async def test_an_answered_report_again_gets_its_answer_and_an_unknown_one_is_refused(path, fill):
    async with working(Bench(path, Diagnoser(), max_pending=1)) as bench:
        bench.accept(incoming(id="1"))
        await bench.wait(1)
        await fill(bench)
        bench.accept(incoming(id="1", correlation=b"again"))
        await bench.wait(2)
        bench.accept(incoming("F013", id="2"))
        answers = await bench.wait(3)
    assert bench.answers[1].payload == bench.answers[0].payload
    assert bench.answers[1].correlation == b"again"
    assert (answers[2].id, answers[2].reason) == ("2", "overload")
    assert bench.counters.count("reports_refused_overload") == 1


async def test_a_redelivery_of_an_open_report_is_answered_once(path, fill):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, max_pending=2)) as bench:
        bench.accept(incoming(id="1"))
        await anyio.sleep(0.05)
        await fill(bench)
        bench.accept(dataclasses.replace(incoming(id="1"), redelivered=True))
        await anyio.sleep(0.05)
        assert len(bench.stored) >= 2
        diagnoser.gate.set()
        await bench.wait(len(bench.stored) - 1)
        await anyio.sleep(0.05)
    assert [one.status for one in bench.diagnoses() if one.id == "1"] == ["ok"]


@pytest.mark.parametrize("answered", [True, False])
async def test_a_repeat_of_a_standing_alarm_gets_its_answer(path, fill, answered):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, max_pending=1 + (not answered))) as bench:
        if not answered:
            diagnoser.gate = anyio.Event()
        bench.accept(incoming(id="1"))
        await (bench.wait(1) if answered else anyio.sleep(0.05))
        await fill(bench)
        bench.accept(incoming(id="2"))
        await anyio.sleep(0.05)
        diagnoser.gate.set()
        await bench.wait(2)
        await anyio.sleep(0.05)
    found = {one.id: one for one in bench.diagnoses()}
    assert (found["2"].status, found["2"].diagnosis_id, found["2"].alarm.count) == ("ok", "D", 2)
    assert "reports_refused_overload" not in bench.counters


async def test_what_is_only_listed_in_a_group_takes_no_place(path, fill):
    async with working(Bench(path, Diagnoser(), group_ms=60_000, max_pending=1)) as bench:
        bench.accept(incoming(id="1"))
        await bench.wait(1)
        # Of another line.
        await fill(bench)
        bench.accept(incoming("F013", id="2", device="L1/M2", dev={"id": "L1/M2"}))
        await bench.wait(2)
    assert bench.diagnoses()[-1].reason == "grouped"


async def test_who_was_refused_stands_for_no_alarm_and_begins_no_group(path, monkeypatch):
    async with working(Bench(path, Diagnoser(), group_ms=60_000)) as bench:
        nearly_full(bench, monkeypatch, True)
        bench.accept(incoming(id="1"))
        await bench.wait(1)
        nearly_full(bench, monkeypatch, False)
        bench.accept(incoming("F013", id="2"))
        bench.accept(incoming(id="1", correlation=b"again"))
        answers = {one.id + one.reason: one.status for one in await bench.wait(3)}
    assert answers == {"1overload": "error", "2": "ok", "1grouped": "abstain"}
