"""One alarm from its first report to its clear."""

import dataclasses

import anyio
import pytest
from tests.unit.dispatch.desk_parts import Bench, Diagnoser, incoming, working

pytestmark = pytest.mark.anyio

KEPT = ("alarm",)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def closed_gate():
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    return diagnoser


def says(state, code="F012", **fields):
    return incoming(alarm={"code": code, "state": state}, **fields)


async def test_repeats_raise_the_count_and_get_the_answer_that_is_there(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        for number in range(3):
            bench.accept(incoming(id=f"r{number}", correlation=b"%d" % number))
            answers = await bench.wait(number + 1)
    assert len(diagnoser.asked) == 1
    assert [(one.id, one.alarm.count) for one in answers] == [("r0", 1), ("r1", 2), ("r2", 3)]
    assert {one.diagnosis_id for one in answers} == {"D"}
    assert [one.correlation for one in bench.answers] == [b"0", b"1", b"2"]
    assert bench.counters.count("reports_repeated") == 2
    assert bench.counters.count("reports_accepted") == 1


async def test_repeats_of_what_is_being_diagnosed_are_answered_with_it(path):
    diagnoser = closed_gate()
    async with working(Bench(path, diagnoser)) as bench:
        for number in range(3):
            bench.accept(incoming(id=f"r{number}"))
        await anyio.sleep(0.05)
        assert bench.desk.pending == 1
        diagnoser.gate.set()
        answers = await bench.wait(3)
    assert len(diagnoser.asked) == 1
    assert sorted((one.id, one.alarm.count) for one in answers) == [("r0", 1), ("r1", 2), ("r2", 3)]


async def test_repeats_that_waited_when_the_daemon_died_are_answered_after_the_restart(path):
    async with working(Bench(path, closed_gate())) as bench:
        for number in range(3):
            bench.accept(incoming(id=f"r{number}"))
        await anyio.sleep(0.05)
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        answers = await bench.wait(3)
    assert len(diagnoser.asked) == 1
    assert {one.id for one in answers} == {"r0", "r1", "r2"}


async def test_the_same_bytes_without_an_id_are_a_repeat_until_the_alarm_clears(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        reports = [incoming(correlation=b"")] * 2 + [
            says("cleared", correlation=b""),
            incoming(correlation=b""),
        ]
        for number, report in enumerate(reports):
            bench.accept(report)
            answers = await bench.wait(number + 1)
    assert len(diagnoser.asked) == 2
    assert [one.alarm.count for one in answers if one.diagnosis_id == "D"] == [1, 2, 1]


@pytest.mark.parametrize(
    "other", [incoming("F013"), incoming(device="L1/M2", dev={"id": "L1/M2"}), incoming(locale="zh")]
)
async def test_another_code_device_or_language_is_another_alarm(path, other):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming())
        bench.accept(other)
        await bench.wait(2)
    assert len(diagnoser.asked) == 2


async def test_a_repeat_that_is_more_urgent_is_diagnosed_by_itself(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming(id="1", sev=100))
        bench.accept(incoming(id="2", sev=950))
        bench.accept(incoming(id="3", sev=100))
        await bench.wait(3)
    assert len(diagnoser.asked) == 2


async def test_without_a_time_for_occurrences_each_report_is_diagnosed(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser, occurrence_s=0)) as bench:
        for number in range(3):
            bench.accept(incoming(id=str(number)))
        await bench.wait(3)
    assert len(diagnoser.asked) == 3


@pytest.mark.parametrize(("state", "word"), [("Acked", "acknowledged"), ("rtn", "cleared")])
async def test_neither_acknowledgement_nor_clear_starts_a_diagnosis(path, state, word):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(says(state))
        (answer,) = await bench.wait(1)
    assert word in answer.meaning
    assert (answer.status, diagnoser.asked) == ("ok", [])
    assert f"reports_{word}" in bench.counters


async def test_an_alarm_that_is_acknowledged_stands_on(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        for report in (incoming(id="1"), says("acknowledged", id="2"), incoming(id="3")):
            bench.accept(report)
        answers = await bench.wait(3)
    assert len(diagnoser.asked) == 1
    assert {one.id: one.alarm.count for one in answers}["3"] == 2


async def test_a_clear_cancels_what_waits_and_retains_nothing(path):
    diagnoser = closed_gate()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("first"))
        await anyio.sleep(0.05)
        bench.accept(dataclasses.replace(incoming(id="waits"), wanted=KEPT))
        bench.accept(dataclasses.replace(incoming(id="repeats"), wanted=KEPT))
        bench.accept(dataclasses.replace(says("cleared", id="gone"), wanted=KEPT))
        await anyio.sleep(0.05)
        diagnoser.gate.set()
        await bench.wait_for(5)
        await anyio.sleep(0.05)
    forms = [one.form for one in bench.answers]
    assert (forms.count("full"), forms.count("cleared"), forms.count("alarm")) == (4, 1, 0)
    assert [code for code, _ in diagnoser.asked] == ["first"]
    reasons = {one.id: one.reason for one in bench.diagnoses()}
    assert (reasons["waits"], reasons["repeats"]) == ("cancelled", "cancelled")


async def test_a_report_after_the_clear_is_a_new_occurrence(path):
    diagnoser = closed_gate()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("first"))
        await anyio.sleep(0.05)
        for report in (incoming(id="1"), says("cleared", id="2"), incoming(id="3")):
            bench.accept(report)
        await anyio.sleep(0.05)
        diagnoser.gate.set()
        await bench.wait_for(4)
    found = {one.id: one for one in bench.diagnoses()}
    assert (found["1"].reason, found["3"].status, found["3"].alarm.count) == ("cancelled", "ok", 1)


async def test_a_clear_that_the_broker_sends_again_does_not_clear_what_came_after_it(path):
    diagnoser = Diagnoser()
    clear = dataclasses.replace(says("cleared", id="c"), wanted=KEPT)
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(clear)
        bench.accept(dataclasses.replace(incoming(id="1"), wanted=KEPT))
        await bench.wait_for(4)
        bench.accept(dataclasses.replace(clear, redelivered=True))
        bench.accept(incoming(id="2"))
        await bench.wait_for(6)
    assert [one.form for one in bench.answers].count("cleared") == 1
    assert len(diagnoser.asked) == 1


async def test_a_redelivery_is_not_counted_as_a_repeat(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(incoming(id="1"))
        bench.accept(incoming(id="2"))
        await bench.wait_for(2)
        bench.accept(dataclasses.replace(incoming(id="2"), redelivered=True))
        bench.accept(incoming(id="3"))
        answers = await bench.wait(4)
    assert [(one.id, one.alarm.count) for one in answers] == [("1", 1), ("2", 2), ("2", 2), ("3", 3)]
    assert bench.answers[1].payload == bench.answers[2].payload


async def test_what_expired_unanswered_does_not_stand_for_its_alarm(path):
    diagnoser = closed_gate()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("first"))
        await anyio.sleep(0.05)
        bench.accept(incoming(id="1", remaining_ms=20))
        await anyio.sleep(0.1)
        diagnoser.gate.set()
        await bench.wait_for(2)
        bench.accept(incoming(id="2"))
        await bench.wait_for(3)
    found = {one.id: one for one in bench.diagnoses()}
    assert (found["1"].reason, found["2"].status) == ("expired", "ok")


async def test_a_repeat_that_still_has_time_keeps_the_first_report_from_expiring(path):
    diagnoser = closed_gate()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("first"))
        await anyio.sleep(0.05)
        bench.accept(incoming(id="1", remaining_ms=20))
        bench.accept(incoming(id="2"))
        await anyio.sleep(0.1)
        diagnoser.gate.set()
        await bench.wait_for(3)
    assert {one.id: one.status for one in bench.diagnoses()}["2"] == "ok"


async def test_poison_stands_so_that_its_alarm_does_not_end_the_daemon_again(path):
    bench = Bench(path, Diagnoser())
    report = bench.journal.accept(bench.desk._prepare(incoming(id="1"))).result(5).report
    for _ in range(3):
        bench.journal.begin(report).result(5)
    async with working(bench):
        await bench.wait_for(1)
        bench.accept(incoming(id="2"))
        answers = await bench.wait(2)
    assert [one.reason for one in answers] == ["poison", "poison"]
    assert bench.diagnoser.asked == []
