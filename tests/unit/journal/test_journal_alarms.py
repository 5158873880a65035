"""Which alarms stand, for how long, and what is left of them."""

import time
from dataclasses import replace

import pytest
from tests.unit.journal.test_journal import LIMITS, new, rows

from lineside.journal import Journal
from lineside.journal_alarms import Alarm, Life

SECOND_NS = 1_000_000_000


def again(answer, asked, count):
    return answer + f" for {asked}, {count} times".encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    journal = Journal(path, LIMITS, Life(60, again=again))
    yield journal
    journal.close()


def raised(key, **fields):
    return replace(new(key, **fields), alarm=Alarm("F012", "", "raised", key), name=key)


def test_a_repeat_is_stored_with_its_answer_in_one_commit(journal, path):
    report = journal.accept(raised("a")).result(5).report
    journal.answer(report, b"x").result(5)
    accepted = journal.accept(raised("b", payload=b"long")).result(5)
    assert (accepted.fresh, accepted.repeated) == (False, True)
    assert [one.payload for one in accepted.deliveries] == [b"x for b, 2 times"]
    found = rows(path, "SELECT head, count, payload, answer FROM report WHERE key = 'b'")
    assert found == [(report, 2, b"", b"x for b, 2 times")]


def test_an_answer_and_those_of_its_repeats_are_one_commit(journal):
    report = journal.accept(raised("a")).result(5).report
    journal.accept(raised("b")).result(5)
    assert [one.report for one in journal.open_reports().result(5)] == [report]
    answers = journal.answer(report, b"x").result(5).deliveries
    assert [one.payload for one in answers] == [b"x", b"x for b, 2 times"]


@pytest.mark.parametrize(("later_s", "repeated"), [(59, True), (61, False)])
def test_an_alarm_ends_when_nobody_reports_it_any_more(journal, monkeypatch, later_s, repeated):
    journal.accept(raised("a")).result(5)
    move_clock(monkeypatch, later_s)
    assert journal.accept(raised("b")).result(5).repeated is repeated


def test_each_repeat_keeps_it_standing(journal, monkeypatch):
    journal.accept(raised("a")).result(5)
    for seconds in (40, 80, 120):
        move_clock(monkeypatch, seconds)
        assert journal.accept(raised(str(seconds))).result(5).repeated


def test_a_reboot_ends_all_of_them(journal):
    journal.accept(raised("a")).result(5)
    journal._rows._boot_id = "another"
    assert not journal.accept(raised("b")).result(5).repeated


def test_wall_clock_jumps_change_nothing(journal, monkeypatch):
    journal.accept(raised("a")).result(5)
    monkeypatch.setattr("lineside.journal_clock.time.time", lambda: 0.0)
    assert journal.accept(raised("b")).result(5).repeated


def test_a_report_that_is_forgotten_stands_for_nothing(journal, path):
    report = journal.accept(raised("a")).result(5).report
    journal.answer(report, b"x").result(5)
    journal._submit(lambda c: c.execute("DELETE FROM report")).result(5)
    assert rows(path, "SELECT * FROM alarm") == []
    assert journal.accept(raised("b")).result(5).fresh


def move_clock(monkeypatch, seconds):
    boot_ns = int(time.clock_gettime(time.CLOCK_BOOTTIME) + seconds) * SECOND_NS
    monkeypatch.setattr("lineside.journal_clock.time.clock_gettime_ns", lambda _clock: boot_ns)
