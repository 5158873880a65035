import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import time
from concurrent.futures import Future

import anyio
import msgspec
import pytest
from tests.unit.dispatch.desk_parts import Bench, Diagnoser, incoming, working

from lineside.answering import Answering
from lineside.diagnosis.diagnosis import AlarmRef, DeviceRef, Diagnosis
from lineside.diagnosis.report import Alarm, Device, Report
from lineside.dispatch import Desk, DeskLimits
from lineside.errors import Reason, RejectedError
from lineside.feedback.desk import FeedbackDesk
from lineside.feedback.store import FeedbackStore, Issued
from lineside.feedback.verdict import Receipt
from lineside.journal import Journal
from lineside.journal_file import Limits
from lineside.journal_rows import NewReport
from lineside.ports import Copy, IncomingReport

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


async def test_a_report_is_stored_then_diagnosed_then_published(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(incoming())
        (diagnosis,) = await bench.wait(1)
    assert (diagnosis.alarm.code, diagnosis.status) == ("F012", "ok")
    assert len(bench.stored) == 1
    assert bench.answers[0].correlation == b"c"
    assert "reports_accepted" in bench.counters
    assert "diagnoses_ok" in bench.counters


async def test_the_same_report_again_gets_the_same_bytes_without_a_new_diagnosis(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming(id="1"))
        await bench.wait(1)
        bench.accept(incoming(id="1", correlation=b"again"))
        await bench.wait(2)
    assert len(diagnoser.asked) == 1
    assert bench.answers[0].payload == bench.answers[1].payload
    assert bench.answers[1].correlation == b"again"


async def test_an_id_with_another_content_is_a_new_report(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming(id="1"))
        bench.accept(incoming("F013", id="1"))
        await bench.wait(2)
    assert len(diagnoser.asked) == 2
    assert bench.counters.count("reports_id_reused") == 1


@pytest.mark.parametrize(
    ("report", "reason", "field"),
    [
        (IncomingReport("L1/M1", "", b"{", "reply", b"", True, None), "invalid", ""),
        (IncomingReport("L1/M1", "", b"x" * 65_537, "reply", b"", True, None), "too_long", ""),
        (incoming(sev=2000), "invalid", "alarm.sev"),
        (incoming(""), "invalid", "alarm"),
        (incoming(device="L2/M2"), "invalid", "dev.id"),
        (IncomingReport("a", "", b'{"dev":7,"alarm":{"code":"1"}}', "r", b"", True, None), "invalid", "dev"),
        (IncomingReport("", "", b'{"dev":{},"alarm":{}}', "reply", b"", True, None), "invalid", "dev.id"),
        (IncomingReport("a", "", b"\xff\xff", "reply", b"", True, None), "invalid", ""),
        (
            dataclasses.replace(incoming(), refusal=RejectedError(Reason.INVALID, "no", field="ts")),
            "invalid",
            "ts",
        ),
        (
            IncomingReport("a", "", b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "r", b"", True, None),
            "invalid",
            "",
        ),
    ],
)
async def test_a_report_that_cannot_be_used_is_answered_with_the_reason(path, report, reason, field):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(report)
        (diagnosis,) = await bench.wait(1)
    assert (diagnosis.status, diagnosis.reason, diagnosis.field) == ("error", reason, field)
    assert diagnosis.message
    assert diagnosis.dev.id == report.device
    assert len(bench.stored) == 1
    assert f"reports_refused_{reason}" in bench.counters


async def test_a_controller_need_not_say_what_its_topic_does(path):
    payload = '{"alarm":{"code":17,"text":"电机过热\\u0000"}}'.encode("gb18030") + b"\0\0"
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(IncomingReport("L1/M1", "", payload, "reply", b"", True, None))
        (diagnosis,) = await bench.wait(1)
    assert (diagnosis.status, diagnosis.dev.id, diagnosis.alarm.code) == ("ok", "L1/M1", "17")


async def test_past_its_bound_the_desk_answers_overload_at_once(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, max_pending=2)) as bench:
        for number in range(3):
            bench.accept(incoming(f"F{number}"))
            await anyio.sleep(0.05)
        (diagnosis,) = await bench.wait(1)
        assert (diagnosis.reason, diagnosis.retry_after_ms) == ("overload", 5000)
        diagnoser.gate.set()
        await bench.wait(3)
    assert bench.desk.pending == 0


async def test_who_asks_again_after_overload_gets_a_diagnosis(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, max_pending=1)) as bench:
        bench.accept(incoming("first"))
        await anyio.sleep(0.05)
        bench.accept(incoming("again", id="7"))
        (refused,) = await bench.wait(1)
        diagnoser.gate.set()
        await bench.wait(2)
        bench.accept(incoming("again", id="7", correlation=b"second"))
        answers = await bench.wait(3)
    assert refused.reason == "overload"
    assert (answers[2].alarm.code, answers[2].status) == ("again", "ok")


async def test_the_least_urgent_gives_way_to_the_more_urgent_and_is_told_to_come_back(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, max_pending=3)) as bench:
        for code, sev in (("runs", 500), ("low", 100), ("plain", 500)):
            bench.accept(incoming(code, sev=sev, id=code))
            await anyio.sleep(0.05)
        bench.accept(incoming("critical", sev=950, id="critical"))
        # All workers are busy: it is told at once all the same.
        (shed,) = await bench.wait(1)
        assert (shed.id, shed.reason, shed.retry_after_ms) == ("low", "overload", 5000)
        assert bench.desk.pending == 3
        bench.accept(incoming("second", sev=950, id="second"))
        bench.accept(incoming("third", sev=950, id="third"))
        await bench.wait(3)
        assert bench.desk.pending == 3
        diagnoser.gate.set()
        answers = {one.id: one.reason for one in await bench.wait(6)}
        bench.accept(incoming("low", sev=100, id="low"))
        again = (await bench.wait(7))[-1]
    assert answers == {"low": "overload", "plain": "overload", "third": "overload"} | dict.fromkeys(
        ("runs", "critical", "second"), ""
    )
    assert [code for code, _ in diagnoser.asked] == ["runs", "critical", "second", "low"]
    assert (again.id, again.status) == ("low", "ok")
    assert "reports_shed" in bench.counters


async def test_who_gave_way_when_the_journal_could_not_write_is_told_later(path, monkeypatch):
    monkeypatch.setattr("lineside.dispatch.STORAGE_RETRY_S", 0.05)
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, max_pending=2)) as bench:
        for code, sev in (("runs", 500), ("low", 100)):
            bench.accept(incoming(code, sev=sev))
            await anyio.sleep(0.05)
        store, failures = bench.journal.answer, []

        def answer(report, payload, **options):
            if failures:
                return store(report, payload, **options)
            failures.append(report)
            failed = Future()
            failed.set_exception(RejectedError(Reason.STORAGE, "full"))
            return failed

        bench.journal.answer = answer
        bench.accept(incoming("critical", sev=950))
        (shed,) = await bench.wait(1)
    assert (shed.alarm.code, shed.reason, len(failures)) == ("low", "overload", 1)


async def test_a_critical_report_is_begun_while_all_others_are_at_work(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, concurrency=2)) as bench:
        for number in range(3):
            bench.accept(incoming(f"plain {number}"))
        with anyio.fail_after(5):
            while len(diagnoser.asked) < 2:
                await anyio.sleep(0.01)
        for number in range(3):
            bench.accept(incoming(f"critical {number}", sev=950))
        with anyio.fail_after(5):
            while len(diagnoser.asked) < 4:
                await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        begun = [code for code, _ in diagnoser.asked]
        assert sum(code.startswith("critical") for code in begun) >= 2
        assert len(begun) == 4
        diagnoser.gate.set()
        await bench.wait(6)


async def test_urgent_reports_overtake(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser)) as bench:
        for code, sev in (("first", None), ("low", 100), ("plain", None), ("critical", 900)):
            bench.accept(incoming(code, sev=sev))
            await anyio.sleep(0.05)
        diagnoser.gate.set()
        await bench.wait(4)
    assert [code for code, _ in diagnoser.asked] == ["first", "critical", "plain", "low"]


async def test_the_deadline_counts_from_arrival_the_message_expiry_and_the_way_back_shorten_it(path):
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        before_ns = time.monotonic_ns()
        bench.accept(incoming("1", deadline_ms=4000))
        bench.accept(incoming("2", deadline_ms=4000, remaining_ms=2000))
        bench.accept(incoming("3"))
        bench.accept(incoming("4", deadline_ms=60_000))
        await bench.wait(4)
    left_ms = [(call.deadline_ns - before_ns) / 1e6 for _, call in diagnoser.asked]
    assert left_ms == pytest.approx([3200, 1200, 4000, 58_000], abs=300)


async def test_a_late_report_still_goes_to_the_diagnoser_which_knows_how_late_it_is(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("first"))
        bench.accept(incoming("late", deadline_ms=30))
        await anyio.sleep(0.1)
        diagnoser.gate.set()
        await bench.wait(2)
        code, call = diagnoser.asked[1]
        assert code == "late"
        assert call.deadline_ns < time.monotonic_ns()


async def test_a_report_that_nobody_waits_for_any_more_is_not_diagnosed(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("first"))
        bench.accept(incoming("expired", remaining_ms=30))
        await anyio.sleep(0.1)
        diagnoser.gate.set()
        answers = await bench.wait(2)
    assert [(a.status, a.reason) for a in answers] == [("ok", ""), ("error", "expired")]
    assert len(diagnoser.asked) == 1


def verdict(diagnosis_id="D", *, device="L1/M1", **said):
    said = {"diagnosis_id": diagnosis_id, "verdict": "wrong", "by": {"badge": "7", "role": "fitter"}, **said}
    payload = json.dumps(said).encode()
    return IncomingReport(device, "r-1", payload, "receipts", b"c", True, None, verb="feedback")


def given(device="L1/M1", diagnosis_id="D"):
    """A diagnosis that can be judged."""
    diagnosis = Diagnosis(
        id="",
        diagnosis_id=diagnosis_id,
        dev=DeviceRef(id=device),
        alarm=AlarmRef(code="F012"),
        received_at="",
        status="ok",
        mode="rules",
        severity="low",
        lang="en",
    )
    return Issued(report=Report(dev=Device(id=device), alarm=Alarm(code="F012")), diagnosis=diagnosis)


async def receipts(bench, count):
    await bench_answers(bench, count)
    return [msgspec.json.decode(answer.payload, type=Receipt) for answer in bench.answers]


async def bench_answers(bench, count):
    with anyio.fail_after(5):
        while len(bench.answers) < count:
            await bench.arrived.wait()
            bench.arrived = anyio.Event()


async def test_a_verdict_is_stored_before_it_is_acknowledged_and_answered(path):
    bench = Bench(path, Diagnoser())
    bench.verdicts.record(given())
    at_acknowledgement = []
    async with working(bench):
        bench.desk.accept(verdict(), lambda: at_acknowledgement.extend(bench.verdicts.cases()))
        (receipt,) = await receipts(bench, 1)
    assert [case.feedback.verdict for case in at_acknowledgement] == ["wrong"]
    assert (receipt.status, receipt.feedback_id) == ("ok", at_acknowledgement[0].id)
    assert (bench.answers[0].topic, bench.answers[0].correlation) == ("receipts", b"c")
    assert bench.diagnoser.asked == []
    assert bench.desk.pending == 0


async def test_a_verdict_that_cannot_be_taken_is_answered_with_the_field(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.desk.accept(verdict("unknown"), lambda: bench.stored.append(1))
        bench.desk.accept(verdict(verdict="maybe"), lambda: bench.stored.append(1))
        found = await receipts(bench, 2)
    assert {(one.status, one.reason, one.field, one.id) for one in found} == {
        ("error", "not_found", "diagnosis_id", "r-1"),
        ("error", "invalid", "verdict", "r-1"),
    }
    assert len(bench.stored) == 2
    assert {"feedback_refused_not_found", "feedback_refused_invalid"} <= set(bench.counters)


async def test_a_verdict_again_is_one_verdict(path):
    bench = Bench(path, Diagnoser())
    bench.verdicts.record(given())
    async with working(bench):
        for _ in range(2):
            bench.desk.accept(verdict(), lambda: bench.stored.append(1))
        first, second = await receipts(bench, 2)
        assert len(list(bench.verdicts.cases())) == 1
    assert first.feedback_id == second.feedback_id


async def test_a_verdict_that_cannot_be_stored_is_not_acknowledged_and_tried_again(path, monkeypatch):
    monkeypatch.setattr("lineside.dispatch.STORAGE_RETRY_S", 0.05)
    bench = Bench(path, Diagnoser())
    bench.verdicts.record(given())
    bench.verdicts._db.execute("PRAGMA query_only = 1")
    async with working(bench):
        bench.accept(verdict())
        with anyio.fail_after(5):
            while not bench.desk.trouble:
                await anyio.sleep(0.01)
        assert bench.stored == []
        bench.verdicts._db.execute("PRAGMA query_only = 0")
        (receipt,) = await receipts(bench, 1)
    assert receipt.status == "ok"
    assert len(bench.stored) == 1
    assert bench.desk.trouble == ""


async def test_a_report_and_a_verdict_of_the_same_bytes_are_two_things(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(incoming())
        await bench.wait(1)
        bench.desk.accept(dataclasses.replace(incoming(), verb="feedback"), lambda: None)
        await bench_answers(bench, 2)
    assert b"diagnosis_id" in bench.answers[1].payload
    assert msgspec.json.decode(bench.answers[1].payload, type=Receipt).field == "diagnosis_id"


async def test_a_report_that_ends_the_daemon_again_and_again_is_set_aside(path):
    """Three times begun and never put back, as when the process is killed."""
    journal = Journal(path, Limits(1000, 1 << 26))
    feedback = FeedbackDesk(FeedbackStore(path.with_name("feedback.db")), [].append)
    loop = asyncio.get_running_loop()
    desk = Desk(journal, Answering(Diagnoser(), 5000), DeskLimits(1, 9), [].append, loop, feedback)
    report = journal.accept(desk._prepare(incoming())).result(5).report
    for _ in range(3):
        assert journal.begin(report).result(5) is not None
    journal.close()
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        (answer,) = await bench.wait(1)
    assert (answer.status, answer.reason) == ("error", "poison")
    with contextlib.closing(sqlite3.connect(path)) as kept:
        ((payload, set_aside),) = kept.execute("SELECT payload, set_aside FROM report").fetchall()
    assert (json.loads(payload)["alarm"], set_aside) == ({"code": "F012"}, 1)
    assert diagnoser.asked == []


async def test_what_was_at_work_when_the_daemon_ended_is_taken_one_at_a_time(path):
    """So that a report that ends it again takes no other with it."""
    journal = Journal(path, Limits(1000, 1 << 26))
    feedback = FeedbackDesk(FeedbackStore(path.with_name("feedback.db")), [].append)
    loop = asyncio.get_running_loop()
    desk = Desk(journal, Answering(Diagnoser(), 5000), DeskLimits(1, 9), [].append, loop, feedback)
    codes = ("F001", "F002", "F003", "F004")
    reports = [journal.accept(desk._prepare(incoming(code))).result(5).report for code in codes]
    for report in reports[:3]:
        journal.begin(report).result(5)
    journal.close()
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser)) as bench:
        with anyio.fail_after(5):
            while len(diagnoser.asked) < 2:
                await anyio.sleep(0.01)
        await anyio.sleep(0.2)
        assert sorted(code for code, _ in diagnoser.asked) == ["F001", "F004"]
        assert bench.desk.waiting().total() == 2
        diagnoser.gate.set()
        answers = await bench.wait(4)
    assert {answer.status for answer in answers} == {"ok"}


async def test_orderly_stops_do_not_count_as_attempts(path):
    for _ in range(4):
        diagnoser = Diagnoser()
        diagnoser.gate = anyio.Event()
        async with working(Bench(path, diagnoser)) as bench:
            bench.accept(incoming())
            await anyio.sleep(0.05)
    async with working(Bench(path, Diagnoser())) as bench:
        (answer,) = await bench.wait(1)
    assert answer.status == "ok"


async def test_answers_that_could_not_be_stored_do_not_count_as_attempts(path, monkeypatch):
    """Six times the journal takes no answer; the seventh it does."""
    monkeypatch.setattr("lineside.dispatch.STORAGE_RETRY_S", 0.01)
    async with working(Bench(path, Diagnoser())) as bench:
        store, failures = bench.journal.answer, []

        def answer(report, payload, **_):
            if len(failures) == 6:
                return store(report, payload)
            failures.append(report)
            failed = Future()
            failed.set_exception(RejectedError(Reason.STORAGE, "full"))
            return failed

        bench.journal.answer = answer
        bench.accept(incoming())
        (diagnosis,) = await bench.wait(1)
    assert (diagnosis.status, len(failures)) == ("ok", 6)
    assert bench.desk.trouble == ""


async def test_a_nearly_full_journal_refuses_with_an_answer(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.journal.nearly_full = True
        bench.accept(incoming())
        (answer,) = await bench.wait(1)
    assert (answer.status, answer.reason) == ("error", "overload")


async def test_whatever_fails_in_reading_a_report_it_is_stored_and_answered(path, monkeypatch):
    monkeypatch.setattr("lineside.reading.parse_report", lambda _: 1 // 0)
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(incoming())
        (answer,) = await bench.wait(1)
    assert (answer.status, answer.reason) == ("error", "internal")
    assert len(bench.stored) == 1


async def test_an_answer_tells_what_is_left_of_its_messages_expiry(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(incoming(remaining_ms=3000))
        await bench.wait(1)
    assert 0 < bench.answers[0].remaining_ms < 3000


async def test_what_was_not_answered_is_taken_up_after_a_restart(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser)) as bench:
        bench.accept(incoming("begun"))
        bench.accept(incoming("waiting"))
        await anyio.sleep(0.1)
    assert bench.answers == []
    async with working(Bench(path, Diagnoser())) as bench:
        answers = await bench.wait(2)
    assert sorted(answer.alarm.code for answer in answers) == ["begun", "waiting"]


async def test_what_was_not_published_is_published_after_a_restart_and_only_that(path):
    async with working(Bench(path, Diagnoser())) as bench:
        for code in ("a", "b"):
            bench.accept(incoming(code))
        await bench.wait(2)
        bench.desk.published(bench.answers[0].row)
        await anyio.sleep(0.05)
    async with working(Bench(path, Diagnoser())) as again:
        answers = await again.wait(1)
        await anyio.sleep(0.05)
    assert [a.alarm.code for a in answers] == ["b"]


async def test_draining_ends_what_runs_and_begins_nothing(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser)) as bench, anyio.create_task_group() as group:
        bench.accept(incoming("runs"))
        bench.accept(incoming("waits"))
        await anyio.sleep(0.1)
        group.start_soon(bench.desk.drain, 5)
        await anyio.sleep(0.02)
        diagnoser.gate.set()
        await bench.wait(1)
    assert [code for code, _ in diagnoser.asked] == ["runs"]


async def test_while_the_journal_cannot_write_nothing_is_acknowledged_and_then_nothing_is_lost(
    path, monkeypatch
):
    monkeypatch.setattr("lineside.dispatch.STORAGE_RETRY_S", 0.1)
    async with working(Bench(path, Diagnoser())) as bench:
        bench.journal._connection.execute("PRAGMA query_only = 1")
        bench.accept(incoming())
        await anyio.sleep(0.05)
        assert bench.stored == []
        assert "reports_not_stored" in bench.counters
        bench.journal._connection.execute("PRAGMA query_only = 0")
        await bench.wait(1)
    assert len(bench.stored) == 1


async def test_what_cannot_be_stored_is_left_with_the_broker_once_its_connection_has_ended(path, monkeypatch):
    """However often it sends it again, there is one that is tried again."""
    monkeypatch.setattr("lineside.dispatch.STORAGE_RETRY_S", 0.05)
    bench = Bench(path, Diagnoser())
    bench.verdicts._db.execute("PRAGMA query_only = 1")
    async with working(bench):
        bench.journal._connection.execute("PRAGMA query_only = 1")
        for _ in range(4):
            connections = [bench.accept(incoming(id="1")), bench.accept(verdict())]
            await anyio.sleep(0.01)
            for acknowledge in connections:
                acknowledge.over = True
        last = bench.accept(dataclasses.replace(incoming(id="1"), redelivered=True))
        await anyio.sleep(0.2)
        assert bench.counters.count("reports_left_with_the_broker") == 8
        assert not last.over
        bench.journal._connection.execute("PRAGMA query_only = 0")
        await bench.wait(1)
        await anyio.sleep(0.1)
    assert len(bench.stored) == len(bench.answers) == 1


async def test_a_message_that_is_stored_late_has_so_much_less_left(path, monkeypatch):
    monkeypatch.setattr("lineside.dispatch.STORAGE_RETRY_S", 0.1)
    async with working(Bench(path, Diagnoser())) as bench:
        bench.journal._connection.execute("PRAGMA query_only = 1")
        bench.accept(incoming(remaining_ms=60_000))
        await anyio.sleep(0.45)
        bench.journal._connection.execute("PRAGMA query_only = 0")
        await bench.wait(1)
    assert 55_000 < bench.answers[0].remaining_ms <= 59_550


async def test_answers_that_are_forgotten_untaken_are_counted(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.journal.on_untaken(3)
    assert bench.counters.count("answers_never_taken") == 3


ALL = ("brief", "text", "alarm")


async def test_an_answer_goes_out_in_every_form_that_is_wanted(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(dataclasses.replace(incoming(), wanted=ALL))
        await bench.wait_for(4)
    full, brief, text, alarm = bench.answers
    assert [one.topic for one in bench.answers[1:]] == [f"{form}/L1/M1/F012" for form in ALL]
    assert json.loads(brief.payload)["code"] == "F012"
    assert text.payload.startswith(b"LOW L1/M1 F012\n")
    assert alarm.payload == full.payload


async def test_what_is_refused_is_told_in_every_form_but_the_retained_one(path):
    async with working(Bench(path, Diagnoser())) as bench:
        bench.accept(dataclasses.replace(incoming(sev=2000), wanted=ALL))
        await bench.wait_for(3)
        await anyio.sleep(0.05)
    assert [one.form for one in bench.answers] == ["full", "brief", "text"]
    assert json.loads(bench.answers[1].payload)["st"] == "invalid"


async def test_a_cleared_alarm_is_answered_without_the_diagnoser_however_many_reports_wait(path):
    diagnoser = Diagnoser()
    diagnoser.gate = anyio.Event()
    async with working(Bench(path, diagnoser, max_pending=1)) as bench:
        bench.accept(dataclasses.replace(incoming(), wanted=ALL))
        await anyio.sleep(0.05)
        gone = incoming(alarm={"code": "F012", "state": "Cleared"})
        bench.accept(dataclasses.replace(gone, wanted=ALL))
        await bench.wait_for(4)
        assert [one.form for one in bench.answers] == ["full", "brief", "text", "cleared"]
        assert bench.answers[3].payload == b""
        assert bench.answers[3].topic == "cleared/L1/M1/F012"
        assert "has cleared" in bench.answers[2].payload.decode()
        diagnoser.gate.set()
        await bench.wait_for(7)
    assert len(diagnoser.asked) == 1
    assert "reports_cleared" in bench.counters
    assert json.loads(bench.answers[0].payload)["status"] == "ok"


async def test_a_stored_answer_of_another_shape_has_no_other_form(path):
    bench = Bench(path, Diagnoser())
    new = NewReport(incoming(), "k", 2, 1000, b"{}", (Copy("brief", "b"),))
    bench.journal.accept(new).result(5)
    async with working(bench, run=False):
        await bench.wait_for(1)
        await anyio.sleep(0.05)
        assert [one.form for one in bench.answers] == ["full"]
        assert bench.journal.unpublished().result(5) == [bench.answers[0].row]


async def test_a_stored_report_that_can_no_longer_be_read_is_answered_so(path):
    """Taken by a version that read it otherwise; or read just so, where the stack was not as deep."""
    journal = Journal(path, Limits(1000, 1 << 26))
    journal.accept(NewReport(incoming(sev="none"), "k", 2, None)).result(5)
    journal.close()
    diagnoser = Diagnoser()
    async with working(Bench(path, diagnoser)) as bench:
        (answer,) = await bench.wait(1)
        assert bench.desk.trouble == ""
    assert (answer.status, answer.reason, answer.field) == ("error", "invalid", "alarm.sev")
    assert diagnoser.asked == []
