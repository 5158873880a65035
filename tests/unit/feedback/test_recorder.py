import time

import msgspec
import pytest
from tests.unit.feedback.feedback_builders import feedback, issued

from lineside.diagnosis.diagnosis import Evidence
from lineside.errors import RejectedError
from lineside.feedback.recorder import RecordingDiagnoser
from lineside.feedback.store import FeedbackStore
from lineside.ports import Call, Retrieved, RetrievedEntry
from lineside.serving.request import Principal

pytestmark = pytest.mark.anyio

GIVEN = issued()
CALL = Call(Principal("t", "t"), time.monotonic_ns() + 10**10)
EVIDENCE = tuple(Evidence(ref=ref, kind="manual", src="drive#F012", quote="") for ref in ("K2", "K1", "S1"))


class Diagnoser:
    def __init__(self, **changes):
        self.diagnosis = msgspec.structs.replace(GIVEN.diagnosis, evidence=EVIDENCE, **changes)

    async def diagnose(self, report, call):
        yield Retrieved((RetrievedEntry("K1", "", "", "a::1"), RetrievedEntry("K2", "", "", "b::1")))
        yield self.diagnosis


async def ask(diagnoser, store, counters):
    recording = RecordingDiagnoser(diagnoser, store, counters.append)
    return [event async for event in recording.diagnose(GIVEN.report, CALL)]


async def test_what_was_given_can_be_judged(tmp_path):
    store = FeedbackStore(tmp_path / "f.db")
    events = await ask(Diagnoser(), store, [])
    assert [type(event).__name__ for event in events] == ["Retrieved", "Diagnosis"]
    store.add(feedback(), "now")
    (case,) = store.cases()
    assert (case.issued.entries, case.issued.report) == (("b::1", "a::1"), GIVEN.report)


async def test_an_error_is_no_diagnosis(tmp_path):
    store = FeedbackStore(tmp_path / "f.db")
    await ask(Diagnoser(status="error"), store, [])
    with pytest.raises(RejectedError):
        store.add(feedback(), "now")


async def test_one_that_cannot_be_remembered_is_given_all_the_same(tmp_path):
    store, counters = FeedbackStore(tmp_path / "f.db"), []
    store._db.execute("PRAGMA query_only = 1")
    events = await ask(Diagnoser(), store, counters)
    assert events[-1].diagnosis_id == "D1"
    assert counters == ["diagnoses_not_recorded"]
