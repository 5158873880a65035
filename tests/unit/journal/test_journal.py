import contextlib
import sqlite3
import threading
import time
from dataclasses import replace

import pytest
from tests.support.older_journal import to_first_schema

from lineside.errors import LinesideError, Reason, RejectedError
from lineside.journal import COMMIT_BATCH, Journal
from lineside.journal_file import PRUNE_ROWS, Limits
from lineside.journal_rows import NewReport
from lineside.ports import Copy, IncomingReport

LIMITS = Limits(keep_answers=100, max_bytes=1 << 26)
DAY_S = 86_400


def incoming(*, device="L1/M1", topic="reply", correlation=b"c1", payload=b"{}", remaining_ms=None):
    return IncomingReport(device, "", payload, topic, correlation, True, remaining_ms)


def unpublished(journal):
    return journal.outgoing(journal.unpublished().result(5)).result(5)


def new(key="k", *, urgency=2, timeout_ms=1000, answer=None, **fields):
    return NewReport(incoming(**fields), key, urgency, timeout_ms, answer)


def with_copies(key, copies, *, answer=None, **fields):
    return replace(new(key, answer=answer, **fields), copies=copies)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path):
    journal = Journal(path, LIMITS)
    yield journal
    journal.close()


def rows(path, query):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def done(journal, names):
    """Reports that are answered and published."""
    accepted = [journal.accept(new(name, answer=b"a")) for name in names]
    for marked in [journal.published(one.result(9).deliveries[0].row) for one in accepted]:
        marked.result(9)


def test_a_report_is_on_the_disk_before_its_future_completes(path):
    journal = Journal(path, LIMITS)
    accepted = journal.accept(new(payload=b"hello")).result(5)
    assert accepted.fresh
    journal.close()
    assert rows(path, "SELECT payload FROM report") == [(b"hello",)]


def test_it_syncs_at_every_commit_and_is_alone(journal, path):
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._connection.execute("PRAGMA cache_size").fetchone() == (-512,), (
        "what memory it may grow by"
    )
    with pytest.raises(LinesideError, match="another daemon"):
        Journal(path, LIMITS)


def test_an_answer_goes_to_where_the_report_said(journal):
    report = journal.accept(new(topic="a/b", correlation=b"xy")).result(5).report
    (answer,) = journal.answer(report, b"the answer").result(5).deliveries
    assert (answer.topic, answer.payload, answer.correlation) == ("a/b", b"the answer", b"xy")


def test_a_repeat_of_an_open_report_is_no_new_work_and_gets_the_answer_too(journal):
    first = journal.accept(new(correlation=b"1")).result(5)
    second = journal.accept(new(correlation=b"2")).result(5)
    assert (first.fresh, second.fresh, second.deliveries) == (True, False, ())
    answers = journal.answer(first.report, b"a").result(5).deliveries
    assert [answer.correlation for answer in answers] == [b"1", b"2"]


def test_a_repeat_of_an_answered_report_gets_the_stored_answer(journal):
    report = journal.accept(new()).result(5).report
    journal.answer(report, b"stored").result(5)
    again = journal.accept(new(correlation=b"later")).result(5)
    assert not again.fresh
    (delivery,) = again.deliveries
    assert (delivery.payload, delivery.correlation) == (b"stored", b"later")


def test_a_redelivery_of_the_same_message_is_answered_once(journal):
    report = journal.accept(new()).result(5).report
    journal.accept(new()).result(5)
    assert len(journal.answer(report, b"a").result(5).deliveries) == 1


def test_another_key_is_new_work(journal):
    first, second = (journal.accept(new(key)).result(5) for key in ("k1", "k2"))
    assert second.fresh
    assert second.report != first.report


def test_a_repeat_after_the_window_is_new_work(journal, clock):
    journal.accept(new()).result(5)
    clock["days"] = 599 / DAY_S
    assert not journal.accept(new()).result(5).fresh
    clock["days"] = 601 / DAY_S
    assert journal.accept(new()).result(5).fresh


@pytest.mark.parametrize("days", [-1, 1])
def test_a_calendar_that_jumps_by_a_day_neither_ends_the_window_nor_makes_it_longer(journal, clock, days):
    named = replace(new("id1-a"), name="id1")
    journal.accept(named).result(5)
    clock["jump_days"] = days
    assert not journal.accept(named).result(5).fresh
    assert journal.accept(replace(named, key="id1-b")).result(5).reused
    clock["days"] = 601 / DAY_S
    assert journal.accept(named).result(5).fresh
    assert not journal.accept(replace(named, key="id1-c", name="id1-c")).result(5).reused


@pytest.mark.parametrize(
    ("then_days", "up_s", "synchronised", "fresh"),
    [
        (-20_000, 590, (False, True), False),
        (-20_000, 610, (False, True), True),
        (-1 / 1440, 1, (True, True), False),
        (-1 / 1440, 1, (True, False), False),
        (-1 / 24, 1, (True, True), True),
        (-1 / 24, 1, (True, False), False),
    ],
)
def test_across_a_reboot_a_clock_that_was_wrong_makes_no_report_old(  # noqa: PLR0917 as many clocks
    path, clock, then_days, up_s, synchronised, fresh
):
    """At least so long as the board is up is known, whatever the calendar says."""
    clock["jump_days"], clock["synchronised"] = then_days, synchronised[0]
    journal = Journal(path, LIMITS)
    journal._rows._boot_id = "an earlier boot"
    journal.accept(new()).result(5)
    journal.close()
    clock["jump_days"], clock["synchronised"] = 0, synchronised[1]
    clock["up_s"] = up_s
    journal = Journal(path, LIMITS)
    assert journal.accept(new()).result(5).fresh is fresh
    journal.close()


@pytest.mark.parametrize(
    ("then_synchronised", "now_synchronised", "elapsed_s"),
    [(True, True, DAY_S), (True, False, 10), (False, True, 10), (False, False, 10)],
)
def test_across_a_reboot_time_goes_on_by_the_calendar_where_it_was_right_both_times(
    path, clock, then_synchronised, now_synchronised, elapsed_s
):
    """Else as long as the board is up is known: 10 seconds here, a day after the report."""
    clock["synchronised"] = then_synchronised
    journal = Journal(path, LIMITS)
    journal._rows._boot_id = "an earlier boot"
    journal.accept(new("open", remaining_ms=60_000)).result(5)
    journal.accept(new("answered", answer=b"a", remaining_ms=60_000)).result(5)
    journal.close()
    clock["days"], clock["up_s"], clock["synchronised"] = 1, 10 - DAY_S, now_synchronised
    journal = Journal(path, LIMITS)
    (waiting,) = journal.open_reports().result(5)
    (answer,) = unpublished(journal)
    begun = journal.begin(waiting.report).result(5)
    journal.close()
    assert begun.waited_ns == pytest.approx(elapsed_s * 1e9)
    assert begun.remaining_ms == answer.remaining_ms == pytest.approx(60_000 - elapsed_s * 1000, abs=1)


def test_who_asks_again_later_has_the_time_of_its_own_message(path, clock):
    journal = Journal(path, LIMITS)
    journal._rows._boot_id = "an earlier boot"
    named = replace(new("k-1", remaining_ms=60_000), name="k")
    journal.accept(named).result(5)
    clock["days"] = 500 / DAY_S
    journal.accept(replace(named, incoming=incoming(correlation=b"2", remaining_ms=60_000))).result(5)
    journal.close()
    clock["days"], clock["up_s"] = 530 / DAY_S, 10 - 530
    journal = Journal(path, LIMITS)
    (waiting,) = journal.open_reports().result(5)
    left = [answer.remaining_ms for answer in journal.answer(waiting.report, b"a").result(5).deliveries]
    journal.close()
    assert left == [pytest.approx(60_000 - 530_000, abs=1), pytest.approx(30_000, abs=1)]


def test_an_answer_that_an_older_version_stored_loses_no_time_to_a_calendar_that_it_did_not_ask(path, clock):
    journal = Journal(path, LIMITS)
    journal._rows._boot_id = "an earlier boot"
    journal.accept(new("k", answer=b"a", remaining_ms=60_000)).result(5)
    journal.close()
    to_first_schema(path)
    clock["days"], clock["up_s"] = 1, 10 - DAY_S
    journal = Journal(path, LIMITS)
    (answer,) = unpublished(journal)
    journal.close()
    assert answer.remaining_ms == pytest.approx(50_000, abs=1)


def test_open_reports_come_back_after_a_restart_the_most_urgent_first(path):
    journal = Journal(path, LIMITS)
    for key, urgency in (("a", 2), ("b", 0), ("c", 2)):
        journal.accept(new(key, urgency=urgency, payload=key.encode())).result(5)
    journal.close()
    journal = Journal(path, LIMITS)
    reports = journal.open_reports().result(5)
    payloads = [journal.begin(r.report).result(5).payload for r in reports]
    journal.close()
    assert payloads == [b"b", b"a", b"c"]
    assert all(report.waited_ns > 0 for report in reports)


def test_a_journal_tells_whether_it_was_closed(path, tmp_path):
    journal = Journal(path, LIMITS)
    journal.accept(new()).result(5)
    copy = tmp_path / "as after a kill" / path.name
    copy.parent.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        copy.with_name(file.name).write_bytes(file.read_bytes())
    journal.close()
    for opened, killed in ((path, False), (copy, True)):
        again = Journal(opened, LIMITS)
        again.close()
        assert again.killed is killed


def test_an_answered_report_is_not_open(journal):
    report = journal.accept(new()).result(5).report
    journal.answer(report, b"a").result(5)
    assert journal.open_reports().result(5) == []
    assert journal.begin(report).result(5) is None


def test_unpublished_answers_come_back_after_a_restart_and_published_ones_do_not(path):
    journal = Journal(path, LIMITS)
    answers = []
    for key in ("a", "b"):
        report = journal.accept(new(key)).result(5).report
        answers += journal.answer(report, key.encode()).result(5).deliveries
    journal.published(answers[0].row).result(5)
    journal.close()
    journal = Journal(path, LIMITS)
    assert [answer.payload for answer in unpublished(journal)] == [b"b"]
    journal.close()


def test_what_is_left_of_the_expiry_shrinks(journal):
    report = journal.accept(new(remaining_ms=5000)).result(5).report
    time.sleep(0.05)
    (answer,) = journal.answer(report, b"a").result(5).deliveries
    assert 0 < answer.remaining_ms <= 4950


def test_a_refused_report_is_stored_with_its_answer_and_without_its_payload(journal, path):
    accepted = journal.accept(new(payload=b"x" * 1000, answer=b"refused")).result(5)
    assert not accepted.fresh
    assert accepted.deliveries[0].payload == b"refused"
    journal.close()
    assert rows(path, "SELECT length(payload), answer FROM report") == [(0, b"refused")]


def test_many_threads_share_commits_and_lose_nothing(journal):
    statements, futures = [], []
    journal._connection.set_trace_callback(statements.append)
    begun, held = threading.Event(), threading.Event()
    journal._submit(lambda _: (begun.set(), held.wait(10)))
    assert begun.wait(10), "a commit is under way while they come"

    def write(thread):
        futures.extend(journal.accept(new(f"{thread}-{number}")) for number in range(200))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.set()
    assert len({future.result(10).report for future in futures}) == 800
    assert statements.count("COMMIT") == 1 + -(-800 // COMMIT_BATCH)


def test_an_answered_report_gives_its_payloads_room_back(journal, path):
    report = journal.accept(new(payload=b"x" * 1000)).result(5).report
    journal.answer(report, b"a").result(5)
    journal.close()
    assert rows(path, "SELECT length(payload), answer FROM report") == [(0, b"a")]


def test_attempts_are_counted_across_restarts_and_can_be_put_back(path):
    for expected in (1, 2):
        journal = Journal(path, LIMITS)
        report = journal.accept(new()).result(5).report
        assert journal.begin(report).result(5).attempts == expected
        journal.close()
    journal = Journal(path, LIMITS)
    journal.put_back(report).result(5)
    assert journal.begin(report).result(5).attempts == 2
    journal.close()


@pytest.mark.parametrize(
    ("expiries", "least", "most"), [((None, 50), None, None), ((5000, 9000), 8900, 9000), ((0,), -100, 0)]
)
def test_a_report_lives_as_long_as_the_last_message_that_asks_for_it(journal, expiries, least, most):
    for number, remaining_ms in enumerate(expiries):
        correlation = str(number).encode()
        report = journal.accept(new(correlation=correlation, remaining_ms=remaining_ms)).result(5).report
    left = journal.begin(report).result(5).remaining_ms
    assert left is None if least is None else least <= left <= most


def test_finished_reports_are_pruned_and_open_ones_never(path, clock):
    journal = Journal(path, LIMITS)
    kept = journal.accept(new("open")).result(5).report
    for number in range(1200):
        report = journal.accept(new(str(number), answer=b"a")).result(5)
        journal.published(report.deliveries[0].row)
    journal.close()
    ((count,),) = rows(path, "SELECT count(*) FROM report")
    assert 100 <= count <= 100 + 500 + 1
    assert rows(path, f"SELECT id FROM report WHERE id = {kept}") == [(kept,)]
    assert rows(path, "SELECT count(*) FROM delivery WHERE report NOT IN (SELECT id FROM report)") == [(0,)]


@pytest.fixture
def clock(monkeypatch):
    """Clocks that a test sets: `days` from now; what the calendar jumps beside; whether it is disciplined."""
    began_s, shift = time.time(), {"days": 0.0, "jump_days": 0.0, "up_s": 86_400.0, "synchronised": True}
    monkeypatch.setattr("time.time", lambda: began_s + (shift["days"] + shift["jump_days"]) * DAY_S)
    monkeypatch.setattr(
        "time.clock_gettime_ns", lambda _clock: int((shift["up_s"] + shift["days"] * DAY_S) * 1e9)
    )
    for module in ("journal_file", "journal_clock", "journal"):
        monkeypatch.setattr(f"lineside.{module}.synchronised", lambda: shift["synchronised"])
    return shift


def aged(path, clock):
    """A journal with one report of each kind, opened again 91 days later: the kinds that are left."""
    journal = Journal(path, LIMITS)
    done = journal.accept(new("done", answer=b"a")).result(5)
    journal.published(done.deliveries[0].row).result(5)
    journal.accept(new("unpublished", answer=b"a")).result(5)
    journal.accept(new("open")).result(5)
    journal.remember("call", "d", b"a").result(5)
    journal.close()
    clock["days"] += 91
    Journal(path, LIMITS).close()
    return {key for (key,) in rows(path, "SELECT key FROM report UNION SELECT key FROM call")}


def test_what_is_answered_goes_by_age_and_what_is_open_stays(path, clock):
    assert aged(path, clock) == {"open"}


def test_nothing_goes_by_age_while_the_clock_is_not_synchronised(path, clock):
    clock["synchronised"] = False
    assert aged(path, clock) == {"done", "unpublished", "open", "call"}


def test_nothing_goes_by_number_while_the_clock_is_not_synchronised(path, clock):
    clock["synchronised"] = False
    journal = Journal(path, LIMITS)
    for number in range(600):
        journal.published(journal.accept(new(str(number), answer=b"a")).result(5).deliveries[0].row)
    journal.close()
    assert rows(path, "SELECT count(*) FROM report") == [(600,)]
    clock["synchronised"] = True
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT count(*) FROM report") == [(100,)]


def test_without_a_synchronised_clock_a_nearly_full_journal_still_makes_room(path, clock):
    clock["synchronised"] = False
    journal = Journal(path, Limits(keep_answers=100_000, max_bytes=1 << 22))
    for number in range(300):
        accepted = journal.accept(new(str(number), answer=b"x" * 20_000)).result(5)
        journal.published(accepted.deliveries[0].row).result(5)
    assert not journal.nearly_full
    journal.close()


@pytest.mark.parametrize("refused", [True, False])
def test_what_the_broker_refuses_makes_room_like_what_it_took_and_is_counted(path, caplog, refused):
    journal = Journal(path, Limits(keep_answers=100_000, max_bytes=1 << 22))
    untaken = []
    journal.on_untaken = untaken.append
    stored = 0
    while not journal.nearly_full or stored % 100:
        accepted = journal.accept(new(str(stored), answer=b"x" * 20_000)).result(5)
        if refused:
            journal.refused(accepted.deliveries[0].row).result(5)
        stored += 1
        if stored == 180:
            break
    (left,) = rows(path, "SELECT count(*) FROM report")[0]
    journal.close()
    assert sum(untaken) == stored - left
    assert (left < stored, journal.nearly_full) == (refused, not refused)
    assert ("never took" in caplog.text) == refused


def test_what_was_dated_before_the_clock_was_right_is_no_older_than_what_followed(path, clock):
    """A board that boots in 1970 answers, and hears the time a minute later."""
    clock["jump_days"], clock["synchronised"] = -20_000, False
    journal = Journal(path, LIMITS)
    for key in ("before", "call"):
        journal.published(journal.accept(new(key, answer=b"a")).result(5).deliveries[0].row).result(5)
    journal.remember("call", "d", b"a").result(5)
    clock["jump_days"], clock["synchronised"] = 0, True
    journal.accept(new("after", answer=b"a")).result(5)
    journal.close()
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT count(*) FROM report") == [(3,)]
    assert rows(path, "SELECT count(*) FROM call") == [(1,)]
    clock["days"] = 91
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT count(*) FROM report") == [(0,)]


def test_nothing_goes_by_age_where_the_clock_is_older_than_the_newest_row(path, clock):
    clock["days"] = 200
    journal = Journal(path, LIMITS)
    journal.accept(new("of a time to come")).result(5)
    journal.close()
    clock["days"] = 0
    rows_before = rows(path, "SELECT count(*) FROM report")
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT count(*) FROM report") == rows_before


def test_nothing_goes_by_age_while_any_row_that_a_right_clock_dated_is_of_a_time_to_come(path, clock):
    """The last row may have been dated after the clock went back."""
    journal = Journal(path, LIMITS)
    done(journal, ["old"])
    clock["days"] = 200
    done(journal, ["of a time to come"])
    clock["days"] = 100
    done(journal, map(str, range(600)))
    journal.close()
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT count(*) FROM report") == [(602,)]
    clock["days"] = 201
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT count(*) FROM report WHERE key = 'old'") == [(0,)]


def test_a_row_of_a_time_to_come_that_a_wrong_clock_dated_is_in_nobodys_way(path, clock):
    journal = Journal(path, LIMITS)
    done(journal, ["old"])
    clock["jump_days"], clock["synchronised"] = 5000, False
    done(journal, ["dated wrongly"])
    clock["jump_days"], clock["synchronised"] = 0, True
    clock["days"] = 91
    done(journal, ["now"])
    journal.close()
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT key FROM report ORDER BY id") == [("dated wrongly",), ("now",)]


def test_once_a_row_of_a_time_to_come_is_forgotten_the_clock_is_trusted_again(path, clock):
    """A nearly full journal makes room all the same, which may take it."""
    journal = Journal(path, Limits(keep_answers=100_000, max_bytes=1 << 22))
    clock["days"] = 5000
    journal.remember("of a time to come", "d", b"a").result(5)
    done(journal, ["of a time to come"])
    clock["days"] = 0
    done(journal, ["old"])
    for number in range(300):
        journal.remember(str(number), "d", b"x" * 20_000).result(5)
    assert journal.recall("of a time to come", "d").result(5) is None
    clock["days"] = 91
    for number in range(300, 360):
        journal.remember(str(number), "d", b"x" * 20_000).result(5)
    assert journal.recall("299", "d").result(5) is None
    journal.close()


def test_the_oldest_go_by_age_where_a_wrong_clock_dated_thousands_of_them(path, clock):
    clock["jump_days"], clock["synchronised"] = -20_000, False
    journal = Journal(path, Limits(keep_answers=100_000, max_bytes=1 << 26))
    done(journal, map(str, range(PRUNE_ROWS + 100)))
    clock["jump_days"], clock["synchronised"] = 0, True
    done(journal, ["dated"])
    clock["days"] = 91
    done(journal, ["now"])
    journal.close()
    for left in (102, 1):
        Journal(path, Limits(keep_answers=100_000, max_bytes=1 << 26)).close()
        assert rows(path, "SELECT count(*) FROM report") == [(left,)]


def test_one_that_is_set_aside_keeps_its_payload(journal, path):
    report = journal.accept(new(payload=b"killer")).result(5).report
    journal.answer(report, b"poison", set_aside=True).result(5)
    journal.close()
    assert rows(path, "SELECT payload, answer, set_aside FROM report") == [(b"killer", b"poison", 1)]


def test_an_id_that_comes_with_another_content_is_new_and_told(journal):
    named = replace(new("id1-a"), name="id1")
    assert [journal.accept(named).result(5).reused for _ in range(2)] == [False, False]
    other = journal.accept(replace(new("id1-b"), name="id1")).result(5)
    assert (other.fresh, other.reused) == (True, True)
    assert not journal.accept(replace(new("id2-a"), name="id2")).result(5).reused
    assert not journal.accept(new("nameless")).result(5).reused


def test_an_id_that_was_only_told_to_come_again_is_not_another_content(journal):
    journal.accept(replace(new("id1-a0123", answer=b"overload"))).result(5)
    again = journal.accept(replace(new("id1-a"), name="id1")).result(5)
    assert (again.fresh, again.reused) == (True, False)


def test_what_the_broker_sends_again_is_known_long_after_the_window(journal, clock):
    """The daemon was down for hours between the commit and the acknowledgement."""
    named = replace(new("id1-a"), name="id1")
    report = journal.accept(named).result(5).report
    clock["days"] = 2
    again = replace(named, incoming=replace(named.incoming, redelivered=True))
    assert journal.accept(again).result(5).report == report
    assert journal.accept(named).result(5).fresh
    nameless = replace(again, key="n", name="")
    first = journal.accept(nameless).result(5).report
    clock["days"] = 4
    assert journal.accept(nameless).result(5).report != first


def test_a_nearly_full_journal_says_so_and_still_takes_the_answers(path):
    """What is accepted until then can all be answered, and then there is room again."""
    journal = Journal(path, Limits(keep_answers=100, max_bytes=1 << 22))
    reports = []
    while not journal.nearly_full:
        accepted = journal.accept(new(str(len(reports)), payload=b"x" * 60_000)).result(5)
        reports.append(accepted.report)
    assert 30 < len(reports) < 70
    for report in reports:
        (answer,) = journal.answer(report, b"a" * 5_000).result(5).deliveries
        journal.published(answer.row).result(5)
    assert not journal.nearly_full
    journal.close()


def test_a_full_disk_refuses_and_keeps_what_it_has(path):
    journal = Journal(path, Limits(keep_answers=100, max_bytes=1 << 20))
    stored = 0
    with pytest.raises(RejectedError) as caught:
        for number in range(100):
            journal.accept(new(str(number), payload=b"x" * 60_000)).result(5)
            stored += 1
    assert caught.value.reason is Reason.STORAGE
    assert len(journal.open_reports().result(5)) == stored > 5
    journal.close()


def test_stored_calls_are_pruned_when_nearly_full(path):
    journal = Journal(path, Limits(keep_answers=100_000, max_bytes=1 << 22))
    for number in range(300):
        journal.remember(str(number), "d", b"x" * 20_000).result(5)
    assert journal.recall("299", "d").result(5) == b"x" * 20_000
    assert journal.recall("0", "d").result(5) is None
    journal.close()


def forbid_pruning(path):
    """SQLite gives up every DELETE of a report, as for want of room on the disk."""
    trigger = "CREATE TRIGGER full BEFORE DELETE ON report BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(trigger)


def allow_pruning(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER full")


def test_what_is_committed_stays_so_where_room_cannot_be_made(clock, journal, path, caplog):
    forbid_pruning(path)
    waiting = journal.accept(new("waiting")).result(5).report
    done(journal, map(str, range(498)))
    accepted = journal.accept(new("last"))
    (answer,) = journal.answer(waiting, b"answer").result(5).deliveries
    assert accepted.result(5).fresh, "it is committed, and so it is work to do"
    assert answer.payload == b"answer"
    assert "the journal cannot be pruned: disk is full" in caplog.messages
    assert rows(path, "SELECT count(*) FROM report") == [(500,)]
    allow_pruning(path)
    done(journal, map(str, range(498, 520)))
    assert rows(path, "SELECT count(*) FROM report") < [(130,)], "it was tried again soon"


def test_a_start_without_room_to_prune_is_a_start(clock, path, caplog):
    journal = Journal(path, LIMITS)
    done(journal, map(str, range(300)))
    forbid_pruning(path)
    journal.close()
    journal = Journal(path, LIMITS)
    assert "the journal cannot be pruned: disk is full" in caplog.messages
    assert journal.accept(new("0")).result(5).deliveries[0].payload == b"a"
    journal.close()


def test_nobody_else_may_read_it(journal, path):
    assert path.stat().st_mode & 0o077 == 0


def test_a_directory_in_its_place_says_what_to_do(path):
    path.mkdir(parents=True)
    with pytest.raises(LinesideError, match=r"\[journal\] path"):
        Journal(path, LIMITS)


def test_a_call_is_recalled_by_key_and_digest(journal):
    assert journal.recall("k", "d").result(5) is None
    journal.remember("k", "d", b"answer").result(5)
    assert journal.recall("k", "d").result(5) == b"answer"
    with pytest.raises(RejectedError) as caught:
        journal.recall("k", "other").result(5)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, "options.idempotency_key")


def test_a_file_that_is_no_journal_is_refused_with_a_remedy(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(LinesideError, match="move the file away"):
        Journal(path, LIMITS)


COPIES = (Copy("brief", "brief/L1", 5000), Copy("alarm", "alarm/L1/F", 60_000))


def test_an_answer_goes_to_every_form_and_only_the_asked_for_one_has_the_correlation(journal):
    report = journal.accept(with_copies("k", COPIES)).result(5).report
    answers = journal.answer(report, b"a").result(5).deliveries
    assert [(one.form, one.topic, one.correlation) for one in answers] == [
        ("full", "reply", b"c1"),
        ("brief", "brief/L1", b""),
        ("alarm", "alarm/L1/F", b""),
    ]
    assert answers[0].remaining_ms is None
    assert 0 < answers[1].remaining_ms <= 5000 < answers[2].remaining_ms


def test_a_repeat_gets_every_form_again_once_each_has_been_published(journal):
    report = journal.accept(with_copies("k", COPIES)).result(5).report
    first = journal.answer(report, b"a").result(5).deliveries
    again = journal.accept(with_copies("k", COPIES)).result(5).deliveries
    assert [one.row for one in again] == [one.row for one in first]
    for one in first:
        journal.published(one.row).result(5)
    later = journal.accept(with_copies("k", COPIES)).result(5).deliveries
    assert [one.form for one in later] == ["full", "brief", "alarm"]
    assert {one.row for one in later}.isdisjoint(one.row for one in first)


def test_a_copy_does_not_keep_a_report_alive_that_nobody_waits_for(journal):
    report = journal.accept(with_copies("k", COPIES, remaining_ms=1000)).result(5).report
    assert journal.begin(report).result(5).remaining_ms <= 1000


def test_what_has_cleared_is_not_retained_after_that(path):
    journal = Journal(path, LIMITS)
    report = journal.accept(with_copies("active", COPIES)).result(5).report
    cleared = (Copy("cleared", "alarm/L1/F"), Copy("cleared", "alarm/L1/other"))
    journal.accept(with_copies("gone", cleared, answer=b"c")).result(5)
    assert [one.form for one in journal.answer(report, b"a").result(5).deliveries] == ["full", "brief"]
    journal.close()
    journal = Journal(path, LIMITS)
    waiting = [(one.form, one.topic) for one in unpublished(journal)]
    journal.close()
    assert ("alarm", "alarm/L1/F") not in waiting
    assert ("cleared", "alarm/L1/F") in waiting


def test_a_journal_of_the_first_schema_goes_on_where_it_was(path):
    journal = Journal(path, LIMITS)
    journal.accept(new("old", answer=b"stored")).result(5)
    journal.close()
    to_first_schema(path)
    journal = Journal(path, LIMITS)
    (waiting,) = unpublished(journal)
    journal.close()
    assert (waiting.payload, waiting.form) == (b"stored", "full")
    assert rows(path, "PRAGMA user_version") == [(8,)]


def test_an_older_schema_becomes_the_same_as_a_new_one(path):
    """Step by step: what a fresh journal has is what an upgraded one has."""
    Journal(path, LIMITS).close()
    made = rows(path, "SELECT name, type FROM sqlite_master ORDER BY name")
    columns = rows(path, "SELECT m.name, p.name, p.type FROM sqlite_master m, pragma_table_info(m.name) p")
    to_first_schema(path)
    Journal(path, LIMITS).close()
    assert rows(path, "SELECT name, type FROM sqlite_master ORDER BY name") == made
    query = "SELECT m.name, p.name, p.type FROM sqlite_master m, pragma_table_info(m.name) p"
    assert sorted(rows(path, query)) == sorted(columns)


def test_an_upgrade_that_fails_leaves_the_old_file(path):
    Journal(path, LIMITS).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE delivery DROP COLUMN form")
        connection.execute("PRAGMA user_version = 1")  # and `set_aside` is there already: step 2 fails
    with pytest.raises(LinesideError, match="set_aside"):
        Journal(path, LIMITS)
    assert rows(path, "PRAGMA user_version") == [(1,)]
    assert "form" not in {name for (name,) in rows(path, "SELECT name FROM pragma_table_info('delivery')")}


def test_a_newer_schema_is_refused_and_left_alone(path):
    Journal(path, LIMITS).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(LinesideError, match="schema 99") as caught:
        Journal(path, LIMITS)
    assert "the version of lineside that wrote it" in str(caught.value)
    assert path.read_bytes() == before


def test_a_damaged_index_is_found_after_a_kill(path):
    """It would hide a key, and its report would be answered a second time."""
    journal = Journal(path, LIMITS)
    for number in range(50):
        journal.accept(new(str(number))).result(5)
    journal.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, '(key)', '(device)') WHERE name = 'report_key'"
        )
    path.with_name(f"{path.name}-wal").touch()
    with pytest.raises(LinesideError, match=r"damaged.*report_key"):
        Journal(path, LIMITS)


def test_who_gives_up_waiting_stops_neither_the_operation_nor_the_thread(journal):
    """An asyncio task that is cancelled cancels the future that it awaits."""
    given_up = journal.accept(new())
    assert not given_up.cancel()
    (report,) = journal.open_reports().result(5)
    assert report.report == given_up.result(5).report
    assert journal.accept(new("k2")).result(5).fresh
