"""Alarms of one line that come together: the first out is diagnosed, the rest are listed."""

import dataclasses

import anyio
import pytest
from tests.unit.dispatch.desk_parts import Bench, Diagnoser, incoming, working

from lineside.diagnosis.diagnosis import GroupAlarm

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def of(device, code="F012", **fields):
    return incoming(code, device=device, dev={"id": device}, **fields)


async def test_the_first_out_is_diagnosed_and_the_rest_are_listed(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, group_ms=2000)) as bench:
        for number, code in ((1, "F1"), (2, "F2"), (2, "F3")):
            bench.accept(of(f"L1/M{number}", code, id=code))
        answers = {one.id: one for one in await bench.wait(3)}
    assert [code for code, _ in diagnoser.asked] == ["F1"]
    assert answers["F1"].status == "ok"
    last = answers["F3"]
    assert (last.status, last.reason, last.dev.id) == ("abstain", "grouped", "L1/M2")
    assert last.group.first == GroupAlarm(dev="L1/M1", alarm="F1")
    assert last.group.rest == (GroupAlarm(dev="L1/M2", alarm="F2"),)
    assert "F1 of L1/M1" in last.meaning
    assert last.safety
    assert bench.counters.count("reports_grouped") == 2


async def test_the_first_outs_answer_lists_what_had_come_by_then(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, group_ms=2000)) as bench:
        bench.accept(of("elsewhere/M1", "first"))
        await anyio.sleep(0.05)
        for number in range(40):
            bench.accept(of(f"L1/M{number}", id=f"m{number}"))
        await bench.wait(39)
        diagnoser.gate.set()
        answers = {one.id: one for one in await bench.wait(41)}
    group = answers["m0"].group
    assert group.first.dev == "L1/M0"
    assert [one.dev for one in group.rest] == [f"L1/M{number}" for number in range(1, 33)]
    assert group.more == 7
    assert answers[""].group is None


@pytest.mark.parametrize("device", ["L2/M1", "M1", "L1/a/M1"])
async def test_another_line_is_another_group(path, device):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, group_ms=2000)) as bench:
        bench.accept(of("L1/M1"))
        bench.accept(of(device))
        await bench.wait(2)
    assert len(diagnoser.asked) == 2


async def test_what_is_more_urgent_than_all_before_it_is_diagnosed_too(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, group_ms=2000)) as bench:
        for number, sev in ((1, 100), (2, 950), (3, 950), (4, 100)):
            bench.accept(of(f"L1/M{number}", f"F{number}", sev=sev))
            await bench.wait(number)
    assert [code for code, _ in diagnoser.asked] == ["F1", "F2"]


async def test_a_group_ends_so_long_after_its_first(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, group_ms=100)) as bench:
        bench.accept(of("L1/M1"))
        await bench.wait(1)
        await anyio.sleep(0.15)
        bench.accept(of("L1/M2"))
        await bench.wait(2)
    assert len(diagnoser.asked) == 2


async def test_what_was_listed_is_diagnosed_when_it_comes_again_later(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, group_ms=100)) as bench:
        bench.accept(of("L1/M1"))
        bench.accept(of("L1/M2", id="1"))
        await bench.wait(2)
        await anyio.sleep(0.15)
        bench.accept(of("L1/M2", id="2"))
        await bench.wait(3)
    assert len(diagnoser.asked) == 2


async def test_a_repeat_of_the_first_out_gets_its_diagnosis_and_is_not_listed(path):
    async with working(Bench(path, Diagnoser(), group_ms=2000)) as bench:
        bench.accept(of("L1/M1", id="1"))
        bench.accept(of("L1/M1", id="2"))
        bench.accept(of("L1/M2", id="3"))
        answers = {one.id: one for one in await bench.wait(3)}
    assert answers["2"].status == "ok"
    assert answers["3"].group.rest == ()


async def test_a_redelivery_of_what_was_listed_gets_the_same_answer(path):
    async with working(Bench(path, Diagnoser(), group_ms=2000)) as bench:
        bench.accept(of("L1/M1", id="1"))
        bench.accept(of("L1/M2", id="2"))
        await bench.wait(2)
        bench.accept(dataclasses.replace(of("L1/M2", id="2"), redelivered=True))
        await bench.wait(3)
    payloads = [one.payload for one in bench.answers if b"grouped" in one.payload]
    assert len(payloads) == 2
    assert payloads[0] == payloads[1]


async def test_where_the_first_out_could_not_be_diagnosed_the_next_one_is(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, group_ms=2000)) as bench:
        bench.accept(of("elsewhere/M1", "first"))
        await anyio.sleep(0.05)
        bench.accept(of("L1/M1", "expired", remaining_ms=10))
        await anyio.sleep(0.05)
        diagnoser.gate.set()
        await bench.wait(2)
        bench.accept(of("L1/M2", "second"))
        await bench.wait(3)
    assert [code for code, _ in diagnoser.asked] == ["first", "second"]


async def test_a_clear_is_of_no_group(path):
    async with working(Bench(path, Diagnoser(), group_ms=2000)) as bench:
        bench.accept(of("L1/M1", alarm={"code": "F012", "state": "cleared"}))
        bench.accept(of("L1/M2"))
        answers = await bench.wait(2)
    assert [one.status for one in answers] == ["ok", "ok"]
    assert answers[1].group is None
