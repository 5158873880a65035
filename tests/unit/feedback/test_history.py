import msgspec
import pytest
from tests.unit.feedback.feedback_builders import issued

from lineside.diagnosis.diagnosis import Evidence
from lineside.diagnosis.recent import Fault
from lineside.errors import RejectedError
from lineside.feedback.history import MAX_LOOKED_AT, History
from lineside.feedback.store import FeedbackStore

EVIDENCE = (Evidence(ref="K1", kind="manual", src="drive#F012", quote=""),)


def given(diagnosis_id, **fields):
    made = issued(diagnosis_id, **fields)
    return msgspec.structs.replace(made, diagnosis=msgspec.structs.replace(made.diagnosis, evidence=EVIDENCE))


def test_answered_faults_of_the_device_are_found_after_a_restart(tmp_path):
    store = FeedbackStore(tmp_path / "f.db")
    made = given("D1")
    for one in (made, given("D2", status="abstain"), given("D3", entries=()), issued("D4")):
        store.record(one)
    store.close()
    history = History(FeedbackStore(tmp_path / "f.db"))
    device = made.report.dev.id
    assert history(device) == (Fault("drive#F012", "drive:unit:F012", made.diagnosis.received_at),)
    assert history(device + "x") == ()


def test_the_latest_come_first_and_their_number_is_bounded(tmp_path):
    store = FeedbackStore(tmp_path / "f.db")
    for number in range(MAX_LOOKED_AT + 3):
        store.record(given(f"D{number}", entries=(f"drive:unit:{number}",)))
    found = History(store)(given("D").report.dev.id)
    assert [one.entry_id for one in found] == [f"drive:unit:{n}" for n in range(MAX_LOOKED_AT + 2, 2, -1)]


def test_a_file_from_before_the_index_gets_it(tmp_path):
    FeedbackStore(tmp_path / "f.db")._db.execute("DROP INDEX issued_device")
    store = FeedbackStore(tmp_path / "f.db")
    plan = "EXPLAIN QUERY PLAN SELECT body FROM issued WHERE device = ? ORDER BY row DESC LIMIT 9"
    assert "USING INDEX issued_device" in str(store._db.execute(plan, ("x",)).fetchall())


def test_what_cannot_be_read_leaves_the_history_out(tmp_path):
    store = FeedbackStore(tmp_path / "f.db")
    store.record(given("D1"))
    store._db.execute("UPDATE issued SET body = x'00'")
    device = given("D1").report.dev.id
    with pytest.raises(RejectedError):
        store.last_of(device, 1)
    assert History(store)(device) == ()
