import concurrent.futures
import sqlite3

import pytest
from tests.unit.feedback.feedback_builders import FITTER, feedback, issued

from lineside.errors import LinesideError, Reason, RejectedError
from lineside.feedback.file import FeedbackLimits
from lineside.feedback.store import Decision, FeedbackStore

NOW = "2026-03-01T00:00:00.000Z"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "feedback.db"


@pytest.fixture
def store(path):
    store = FeedbackStore(path)
    store.record(issued())
    yield store
    store.close()


def refused(call):
    with pytest.raises(RejectedError) as caught:
        call()
    return caught.value.reason, caught.value.field


def test_a_verdict_is_kept_with_its_report_and_diagnosis(store, path):
    assert store.add(feedback(cause="fan"), NOW) == "L1/M1"
    store.close()
    (case,) = FeedbackStore(path).cases()
    assert (case.state, case.feedback.cause, case.issued, case.received_at) == (
        "pending",
        "fan",
        issued(),
        NOW,
    )


def test_the_same_verdict_again_changes_nothing(store):
    for _ in range(3):
        store.add(feedback(), NOW, "L1/M1")
    assert len(list(store.cases())) == 1


def test_an_unknown_diagnosis_or_one_of_another_device(store):
    assert refused(lambda: store.add(feedback("D9"), NOW)) == (Reason.NOT_FOUND, "diagnosis_id")
    assert refused(lambda: store.add(feedback(), NOW, "L2/M9")) == (Reason.INVALID, "diagnosis_id")
    assert list(store.cases()) == []


def test_verdicts_are_bounded_for_each_diagnosis_and_in_all(path):
    store = FeedbackStore(path, FeedbackLimits(max_verdicts=3, max_verdicts_each=2))
    for name in ("D1", "D2"):
        store.record(issued(name))
    for cause in "ab":
        store.add(feedback(cause=cause), NOW)
    assert refused(lambda: store.add(feedback(cause="c"), NOW)) == (Reason.INVALID, "diagnosis_id")
    store.add(feedback("D2"), NOW)
    assert refused(lambda: store.add(feedback("D2", cause="c"), NOW))[0] is Reason.OVERLOAD
    store.add(feedback("D2"), NOW)


def test_the_oldest_diagnoses_are_forgotten_but_those_that_were_judged(path, monkeypatch):
    monkeypatch.setattr("lineside.feedback.store.PRUNE_EVERY", 1)
    store = FeedbackStore(path, FeedbackLimits(keep_diagnoses=3))
    store.record(issued("D0"))
    store.add(feedback("D0"), NOW)
    for n in range(1, 10):
        store.record(issued(f"D{n}"))
    store.add(feedback("D0", cause="again"), NOW)
    store.add(feedback("D9"), NOW)
    store.add(feedback("D6"), NOW)
    assert refused(lambda: store.add(feedback("D5"), NOW))[0] is Reason.NOT_FOUND


def test_a_file_that_is_nearly_full_makes_room_and_its_size_is_bounded(path, monkeypatch):
    monkeypatch.setattr("lineside.feedback.store.PRUNE_EVERY", 5)
    store = FeedbackStore(path, FeedbackLimits(max_bytes=1 << 20))
    for n in range(300):
        store.record(issued(f"D{n}", log=("x" * 900,) * 10))
    store.add(feedback("D299"), NOW)
    store.close()
    assert path.stat().st_size <= 1 << 20


def test_a_disk_that_takes_nothing_more_is_told(path):
    store = FeedbackStore(path, FeedbackLimits(max_bytes=65_536))
    with pytest.raises(RejectedError) as caught:
        store.record(issued(log=("x" * 900,) * 20, alarm_text="y" * 900, values=()))
        for n in range(20):
            store.record(issued(f"E{n}", log=("x" * 900,) * 20))
    assert caught.value.reason is Reason.STORAGE


def test_its_pages_in_memory_are_few(store):
    assert store._db.execute("PRAGMA cache_size").fetchone() == (-512,), "what memory it may grow by"


def test_two_processes_have_it_open(store, path):
    other = FeedbackStore(path)
    other.add(feedback(), NOW)
    store.record(issued("D2"))
    other.add(feedback("D2"), NOW)
    assert len(list(store.cases())) == 2


def test_many_threads(store):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.add(feedback(cause=str(n % 4)), NOW), range(40)))
    assert len(list(store.cases())) == 4


def test_a_decision_is_taken_once(store):
    store.add(feedback(), NOW)
    (case,) = store.cases("pending")
    decision = Decision(by=FITTER, at=NOW, why="no")
    store.decide(case, "rejected", decision)
    assert list(store.cases("pending")) == []
    (after,) = store.cases("rejected")
    assert after.decision == decision
    with pytest.raises(LinesideError, match="no longer pending"):
        store.decide(case, "approved", decision)


def test_a_verdict_is_found_by_the_beginning_of_its_id(store):
    store.add(feedback(), NOW)
    (case,) = store.cases()
    assert store.case(case.id[:5]).id == case.id
    for nobody in ("", "zz", "%", "_" * 12):
        with pytest.raises(LinesideError, match="feedback list"):
            store.case(nobody)


def test_several_that_begin_alike_are_not_guessed_between(store):
    ids = []
    for n in range(16):
        said = feedback(cause=str(n))
        store.add(said, NOW)
        ids.append(said.feedback_id)
    first = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    with pytest.raises(LinesideError, match="several"):
        store.case(first)


def test_a_file_of_another_version_or_none_at_all_is_named(path, tmp_path):
    FeedbackStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(LinesideError, match="schema 9"):
        FeedbackStore(path)
    other = tmp_path / "other.db"
    other.write_bytes(b"no database" * 500)
    with pytest.raises(LinesideError, match="moved away"):
        FeedbackStore(other)
    with pytest.raises(LinesideError, match=r"set \[feedback\] path"):
        FeedbackStore(tmp_path)


def test_only_its_user_may_read_it(store, path):
    assert path.stat().st_mode & 0o077 == 0
