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


async def begun(bench):
    """Returns once the first report is being looked into."""
    with anyio.fail_after(10):
        while not bench.diagnoser.asked:
            await anyio.sleep(0.01)


async def queued(bench):
    """Whatever comes now waits for its turn."""
    bench.diagnoser.gate = anyio.Event()
    bench.accept(of("elsewhere/M1", "busy", id="busy"))
    await begun(bench)


def cleared(device, code):
    return of(device, alarm={"code": code, "state": "cleared"}, id=f"{code} cleared")


def listed_as(answers):
    """Who was named as first out to whom."""
    return {one.id: one.group.first.alarm for one in answers if one.reason == "grouped"}


async def test_where_the_first_out_clears_before_its_turn_the_next_that_was_listed_is_diagnosed(path):
    bench = Bench(path, Diagnoser(), group_ms=60_000)
    async with working(bench):
        await queued(bench)
        for number in (1, 2, 3):
            bench.accept(of(f"L1/M{number}", f"F{number}", id=f"F{number}"))
        bench.accept(cleared("L1/M1", "F1"))
        await bench.wait(3)
        bench.accept(of("L1/M4", "F4", id="F4"))
        await bench.wait(4)
        bench.diagnoser.gate.set()
        answers = await bench.wait(7)
        await anyio.sleep(0.05)
        assert bench.desk.pending == 0
    assert listed_as(answers) == {"F2": "F1", "F3": "F1", "F4": "F2"}
    last = {one.id: one for one in answers}
    assert {name: last[name].reason for name in ("F1", "F2", "F3")} == {
        "F1": "cancelled",
        "F2": "",
        "F3": "grouped",
    }
    assert [one.alarm for one in last["F2"].group.rest] == ["F3", "F4"]
    assert [code for code, _ in bench.diagnoser.asked] == ["busy", "F2"]
    assert bench.counters.count("reports_next_out") == 1


async def test_where_the_first_out_expires_or_the_next_does_the_one_after_is_diagnosed(path):
    bench = Bench(path, Diagnoser(), group_ms=60_000)
    async with working(bench):
        await queued(bench)
        for number, remaining_ms in ((1, 10), (2, 10), (3, None)):
            bench.accept(of(f"L1/M{number}", f"F{number}", id=f"F{number}", remaining_ms=remaining_ms))
        await bench.wait(2)
        await anyio.sleep(0.05)
        bench.diagnoser.gate.set()
        answers = {one.id: one.reason for one in await bench.wait(6)}
    assert answers == {"busy": "", "F1": "expired", "F2": "expired", "F3": ""}


async def test_where_the_first_out_gives_way_the_next_takes_its_chance(path):
    bench = Bench(path, Diagnoser(), group_ms=60_000, max_pending=2)
    async with working(bench):
        await queued(bench)
        bench.accept(of("L1/M1", "F1", id="F1", sev=100))
        bench.accept(of("L1/M2", "F2", id="F2", sev=100))
        await bench.wait(1)
        bench.accept(of("L2/M1", "worse", id="worse", sev=950))
        await bench.wait(3)
        bench.diagnoser.gate.set()
        answers = await bench.wait(5)
        await anyio.sleep(0.05)
        assert bench.desk.pending == 0
    assert {one.id: one.reason for one in answers} == {
        "busy": "",
        "worse": "",
        "F1": "overload",
        "F2": "overload",
    }


async def test_what_has_cleared_itself_is_not_the_next(path):
    bench = Bench(path, Diagnoser(), group_ms=60_000)
    async with working(bench):
        await queued(bench)
        for number in (1, 2, 3):
            bench.accept(of(f"L1/M{number}", f"F{number}", id=f"F{number}"))
        bench.accept(cleared("L1/M2", "F2"))
        bench.accept(cleared("L1/M1", "F1"))
        await bench.wait(4)
        bench.diagnoser.gate.set()
        await bench.wait(7)
    assert [code for code, _ in bench.diagnoser.asked] == ["busy", "F3"]


async def test_what_is_being_diagnosed_as_it_clears_is_still_the_first_out(path):
    bench = Bench(path, Diagnoser(), group_ms=60_000)
    bench.diagnoser.gate = anyio.Event()
    async with working(bench):
        bench.accept(of("L1/M1", "F1", id="F1"))
        await begun(bench)
        bench.accept(of("L1/M2", "F2", id="F2"))
        bench.accept(cleared("L1/M1", "F1"))
        bench.accept(of("L1/M3", "F3", id="F3"))
        await bench.wait(3)
        bench.diagnoser.gate.set()
        answers = await bench.wait(4)
        await anyio.sleep(0.05)
    assert listed_as(answers) == {"F2": "F1", "F3": "F1"}
    assert [code for code, _ in bench.diagnoser.asked] == ["F1"]


async def test_the_next_is_still_diagnosed_where_the_daemon_ends_meanwhile(path):
    async with working(Bench(path, Diagnoser(), group_ms=60_000)) as bench:
        await queued(bench)
        bench.accept(dataclasses.replace(of("L1/M1", "F1", id="F1"), wanted=("brief",)))
        bench.accept(dataclasses.replace(of("L1/M2", "F2", id="F2"), wanted=("brief",)))
        bench.accept(cleared("L1/M1", "F1"))
        await bench.wait(2)
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, group_ms=60_000)) as bench:
        answers = await bench.wait(6)
        await anyio.sleep(0.05)
    assert {code for code, _ in diagnoser.asked} == {"busy", "F2"}
    # What it was told at first has not been published: it never is.
    assert [(one.id, one.reason) for one in answers if one.id == "F2"] == [("F2", "")]
    assert sum(one.form == "brief" for one in bench.answers) == 2


async def test_of_what_is_listed_the_content_is_kept_until_the_first_out_is_diagnosed(path):
    bench = Bench(path, Diagnoser(), group_ms=60_000)
    async with working(bench):
        await queued(bench)
        for number in (1, 2):
            bench.accept(of(f"L1/M{number}", f"F{number}", id=f"F{number}"))
        await bench.wait(1)

        def kept():
            return bench.journal._submit(
                lambda c: c.execute("SELECT count(*) FROM report WHERE payload != x''").fetchone()
            ).result(5)

        assert kept() == (3,)
        bench.diagnoser.gate.set()
        await bench.wait(3)
        assert kept() == (0,)
