import dataclasses

import pytest
from tests.unit.dispatch.desk_parts import Bench, Diagnoser, incoming, working

pytestmark = pytest.mark.anyio


class Auditor:
    def __init__(self, *, payloads=False):
        self.payloads = payloads
        self.records = []

    def record(self, record):
        self.records.append(record)


async def audited(tmp_path, auditor, reports, answers):
    bench = Bench(tmp_path / "journal.db", Diagnoser())
    bench.desk.audit = auditor
    async with working(bench):
        for number, report in enumerate(reports):
            bench.accept(report)
            await bench.wait_for(answers if number == len(reports) - 1 else number + 1)
    return auditor.records if auditor else []


async def test_each_report_leaves_one_record_whatever_becomes_of_it(tmp_path):
    reports = [
        incoming(id="1"),
        incoming(id="2"),
        incoming(sev=5000),
        incoming(id="4", alarm={"code": "F012", "state": "cleared"}),
    ]
    records = await audited(tmp_path, Auditor(), reports, 4)
    assert [(one.who, one.what, one.outcome, one.reason, one.id) for one in records] == [
        ("mqtt:L1/M1", "fault", "ok", "", "1"),
        ("mqtt:L1/M1", "fault", "ok", "", "2"),
        ("mqtt:L1/M1", "fault", "error", "invalid", ""),
        ("mqtt:L1/M1", "fault", "ok", "", "4"),
    ]
    assert records[0].diagnosis == "D"
    assert all(0 <= one.took_ms < 5000 for one in records)
    assert not any(one.payload for one in records)


async def test_short_forms_are_no_requests_of_their_own(tmp_path):
    reports = [dataclasses.replace(incoming(), wanted=("brief", "text", "alarm"))]
    assert len(await audited(tmp_path, Auditor(), reports, 4)) == 1


async def test_a_verdict_is_recorded_as_one(tmp_path):
    (record,) = await audited(tmp_path, Auditor(), [dataclasses.replace(incoming(), verb="feedback")], 1)
    assert (record.what, record.outcome, record.reason) == ("feedback", "error", "invalid")


async def test_payloads_are_recorded_as_they_came_where_they_are_asked_for(tmp_path):
    received, answered = await audited(tmp_path, Auditor(payloads=True), [incoming(id="1")], 1)
    assert (received.outcome, answered.outcome) == ("received", "ok")
    assert received.payload == incoming(id="1").payload.decode()


@pytest.mark.parametrize("killed", [True, False])
async def test_an_answer_that_was_stored_as_the_daemon_was_killed_is_recorded_at_the_next_start(
    tmp_path, killed
):
    await audited(tmp_path, None, [incoming(id="1"), incoming(id="2")], 2)
    bench = Bench(tmp_path / "journal.db", Diagnoser())
    assert not bench.journal.killed
    bench.journal.killed = killed
    bench.desk.audit = auditor = Auditor()
    await bench.desk.record_restored()
    async with working(bench):
        await bench.wait_for(2)
    assert [one.id for one in auditor.records] == (["1", "2"] if killed else [])
