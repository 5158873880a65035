"""What the journal knows of alarms of one line that come together: which was the first out, which followed.

Functions within one transaction. Knows nothing of what answers say.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from lineside.diagnosis.diagnosis import Group, GroupAlarm
from lineside.journal_alarms import Alarm
from lineside.journal_clock import Now

# What is listed of a group by name; of more than these, the number alone.
MAX_LISTED = 32
# Of an alarm's name where others are listed.
MAX_NAME = 64

# Of a group: what has its answer, and is kept in case that it is the next to be diagnosed.
_LISTED = "answer IS NOT NULL AND payload != x'' AND NOT set_aside"
_REST = "FROM report WHERE burst = ? AND (device, alarm) != (?, ?)"


@dataclass(frozen=True, slots=True)
class Burst:
    """The group that a new report is of. `first`: the report that began it; None: it begins with the new one.

    `listed`: the group as it is, where the new report is only listed in it.
    """

    first: int | None = None
    listed: Group | None = None


def burst_of(connection: sqlite3.Connection, alarm: Alarm, urgency: int, group_ms: int, now: Now) -> Burst:
    """Where a new report belongs. What is more urgent than all before it is looked into by itself."""
    row = connection.execute(
        "SELECT report, urgency, began_boot_ns, boot_id FROM burst WHERE line = ?", (alarm.line,)
    ).fetchone()
    if row is None:
        return Burst()
    first, worst, began_boot_ns, boot_id = row
    if boot_id != now.boot_id or now.boot_ns - began_boot_ns > group_ms * 1_000_000:
        return Burst()
    if urgency < worst:
        connection.execute("UPDATE burst SET urgency = ? WHERE line = ?", (urgency, alarm.line))
        return Burst(first)
    return Burst(first, group_of(connection, first))


def begin(connection: sqlite3.Connection, alarm: Alarm, urgency: int, report: int, now: Now) -> None:
    """A group begins with this report; it may stay alone."""
    row = (alarm.line, report, urgency, now.boot_ns, now.boot_id)
    connection.execute("INSERT OR REPLACE INTO burst VALUES (?, ?, ?, ?, ?)", row)


def let_go(connection: sqlite3.Connection, first: int) -> None:
    """The report was not diagnosed: the next one of its line begins a group."""
    connection.execute("DELETE FROM burst WHERE report = ?", (first,))


def hand_on(connection: sqlite3.Connection, first: int) -> int | None:
    """The first out is not diagnosed: the next that was listed with it is open again, and is the first out of
    the rest. None where none is left.
    """
    listed = f"SELECT id FROM report WHERE burst = ? AND {_LISTED} AND NOT cancelled ORDER BY id LIMIT 1"  # noqa: S608
    row = connection.execute(listed, (first,)).fetchone()
    if row is None:
        settle(connection, first)
        let_go(connection, first)
        return None
    (report,) = row
    connection.execute("UPDATE report SET answer = NULL, burst = NULL WHERE id = ?", (report,))
    connection.execute("UPDATE report SET burst = ? WHERE burst = ?", (report, first))
    connection.execute("UPDATE burst SET report = ? WHERE report = ?", (report, first))
    return int(report)


def settle(connection: sqlite3.Connection, first: int) -> None:
    """The first out is diagnosed: what was listed with it is done."""
    connection.execute(f"UPDATE report SET payload = x'' WHERE burst = ? AND {_LISTED}", (first,))  # noqa: S608


def group_of(connection: sqlite3.Connection, first: int) -> Group:
    """The group that began with this report, as it is now."""
    device, alarm = connection.execute("SELECT device, alarm FROM report WHERE id = ?", (first,)).fetchone()
    values = (first, device, alarm)
    rest = connection.execute(
        f"SELECT device, alarm {_REST} GROUP BY device, alarm ORDER BY min(id) LIMIT ?",
        (*values, MAX_LISTED),
    ).fetchall()
    distinct = f"SELECT count(*) FROM (SELECT DISTINCT device, alarm {_REST})"  # noqa: S608
    (count,) = connection.execute(distinct, values).fetchone()
    listed = tuple(_named(*one) for one in rest)
    return Group(first=_named(device, alarm), rest=listed, more=count - len(listed))


def _named(device: str, alarm: str) -> GroupAlarm:
    return GroupAlarm(dev=device, alarm=alarm[:MAX_NAME])
