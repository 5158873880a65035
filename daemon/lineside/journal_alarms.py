"""What the journal knows of alarms: which stand, by which report, and how often each was reported.

Functions within one transaction. Knows nothing of threads, of what answers say and of who asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from lineside.diagnosis.diagnosis import Group
from lineside.diagnosis.report import Event
from lineside.journal_clock import Now

# A stored answer for another report of its alarm: under the id that this one asks by, and the count by then.
Again = Callable[[bytes, str, int], bytes]


@dataclass(frozen=True, slots=True)
class Life:
    """An alarm that nobody reports for `occurrence_s` has ended, if it was not cleared before; 0: each report
    is an alarm of its own. Alarms of one line within `group_ms` are a group; 0: there are none.
    """

    occurrence_s: int = 0
    group_ms: int = 0
    again: Again = lambda answer, _asked, _count: answer


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a report says of which alarm. `key`: see report.alarm_key. `asked`: the id that it asks by.

    `line`: whose alarms may form a group. `listed`: its answer where it is only listed in one.
    """

    key: str
    locale: str
    event: Event
    asked: str = ""
    line: str = ""
    listed: Callable[[Group], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The report that stands for an alarm, its answer if there is one; how often it was reported by now."""

    report: int
    answer: bytes | None
    count: int


def repeat_of(  # noqa: PLR0913, PLR0917 all are of one report
    connection: sqlite3.Connection, device: str, alarm: Alarm, urgency: int, life: Life, now: Now
) -> Standing | None:
    """The alarm that another report is of, counting it; None where it stands for itself.

    What is more urgent than the report that stands is looked into by itself.
    """
    row = connection.execute(
        "SELECT a.report, r.answer, a.count, a.seen_boot_ns, a.boot_id, r.urgency"
        " FROM alarm a JOIN report r ON r.id = a.report"
        " WHERE a.device = ? AND a.alarm = ? AND a.locale = ?",
        (device, alarm.key, alarm.locale),
    ).fetchone()
    if row is None:
        return None
    report, answer, count, seen_boot_ns, boot_id, worst = row
    fresh = boot_id == now.boot_id and now.boot_ns - seen_boot_ns <= life.occurrence_s * 1_000_000_000
    if not fresh or urgency < worst:
        return None
    connection.execute(
        "UPDATE alarm SET count = count + 1, seen_boot_ns = ? WHERE device = ? AND alarm = ? AND locale = ?",
        (now.boot_ns, device, alarm.key, alarm.locale),
    )
    return Standing(report, answer, count + 1)


def stand(connection: sqlite3.Connection, device: str, alarm: Alarm, report: int, now: Now) -> None:
    """The report stands for its alarm from now on."""
    row = (device, alarm.key, alarm.locale, report, now.boot_ns, now.boot_id)
    connection.execute("INSERT OR REPLACE INTO alarm VALUES (?, ?, ?, ?, 1, ?, ?)", row)


def clear(connection: sqlite3.Connection, device: str, key: str) -> list[int]:
    """The alarm has gone: what waits for its turn is not diagnosed, and its answer is nobody else's.

    Returns the reports that wait. One that is only listed in a group is not the next to be diagnosed.
    """
    open_ones = "device = ? AND alarm = ? AND answer IS NULL"
    listed = "device = ? AND alarm = ? AND burst IN (SELECT id FROM report WHERE answer IS NULL)"
    query = f"SELECT id FROM report WHERE {open_ones} AND head IS NULL AND attempts = 0"  # noqa: S608
    waiting = [report for (report,) in connection.execute(query, (device, key))]
    for cancelled in (open_ones, listed):
        connection.execute(f"UPDATE report SET cancelled = 1 WHERE {cancelled}", (device, key))  # noqa: S608
    connection.execute("DELETE FROM alarm WHERE device = ? AND alarm = ?", (device, key))
    return waiting


def let_go(connection: sqlite3.Connection, report: int) -> None:
    """The report's answer is none for others: the next report of its alarm stands for itself."""
    connection.execute("DELETE FROM alarm WHERE report = ?", (report,))


def answer_repeats(connection: sqlite3.Connection, report: int, answer: bytes, again: Again) -> None:
    """Whatever waited for this report's answer has it."""
    query = "SELECT id, asked, count FROM report WHERE head = ? AND answer IS NULL"
    for repeat, asked, count in connection.execute(query, (report,)).fetchall():
        values = (again(answer, asked, count), repeat)
        connection.execute("UPDATE report SET answer = ?, payload = x'' WHERE id = ?", values)
