"""The journal's deliveries: where the answer of a report goes, and what the broker has not taken of them.

Functions within one transaction. Knows nothing of threads and of what answers say.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from lineside.journal_clock import STAMP, Now
from lineside.ports import Copy, IncomingReport, OutgoingAnswer

MS_PER_S = 1000
_COLUMNS = f"report, topic, correlation, mqtt5, expiry_ms, form, {STAMP}"


def deliver(
    connection: sqlite3.Connection,
    report: int,
    incoming: IncomingReport,
    copies: tuple[Copy, ...],
    instant: Now,
) -> list[int]:
    """The full answer's, then its copies'; a delivery that still waits is not added again."""
    full = Copy("full", incoming.reply_topic, incoming.remaining_ms)
    added = [_add(connection, report, incoming, full, instant)]
    for copy in copies:
        if copy.form == "cleared":
            # What has not been retained yet must not be after this.
            given_up = (
                "UPDATE delivery SET published = 1 WHERE published = 0 AND form = 'alarm' AND topic = ?"
            )
            connection.execute(given_up, (copy.topic,))
        added.append(_add(connection, report, incoming, copy, instant))
    return added


def deliver_again(connection: sqlite3.Connection, report: int) -> None:
    """The report gets another answer: it goes wherever the first went, which goes nowhere any more."""
    connection.execute("UPDATE delivery SET published = 1 WHERE report = ? AND published = 0", (report,))
    latest = "SELECT max(id) FROM delivery WHERE report = ? GROUP BY topic, correlation, form"
    copied = f"SELECT {_COLUMNS} FROM delivery WHERE id IN ({latest}) ORDER BY id"  # noqa: S608
    connection.execute(f"INSERT INTO delivery ({_COLUMNS}) {copied}", (report,))


def _add(
    connection: sqlite3.Connection, report: int, incoming: IncomingReport, copy: Copy, instant: Now
) -> int:
    # Who hears a copy has not asked: the correlation is the asker's.
    correlation = incoming.correlation if copy.form == "full" else b""
    known = connection.execute(
        "SELECT id FROM delivery WHERE report = ? AND topic = ? AND correlation = ? AND form = ?"
        " AND published = 0",
        (report, copy.topic, correlation, copy.form),
    ).fetchone()
    if known is not None:
        return int(known[0])
    return insert(
        connection,
        "delivery",
        report=report,
        topic=copy.topic,
        correlation=correlation,
        mqtt5=incoming.mqtt5,
        expiry_ms=copy.expiry_ms,
        received_s=instant.wall_s,
        synchronised=instant.synchronised,
        boot_id=instant.boot_id,
        received_boot_ns=instant.boot_ns,
        form=copy.form,
    )


def outgoing(connection: sqlite3.Connection, instant: Now, where: str, *values: int) -> list[OutgoingAnswer]:
    """What is to be published; `where` is the caller's own SQL on delivery d and report r."""
    stamp = ", ".join(f"d.{column}" for column in STAMP.split(", "))
    query = f"""SELECT d.id, d.topic, r.answer, d.correlation, d.mqtt5, d.expiry_ms, d.form, r.device,
        {stamp} FROM delivery d JOIN report r ON r.id = d.report WHERE {where} ORDER BY d.id"""  # noqa: S608
    return [_outgoing(row, instant) for row in connection.execute(query, values)]


def unpublished(connection: sqlite3.Connection) -> list[int]:
    """Deliveries of what is answered that are still to be published, oldest first."""
    query = (
        "SELECT d.id FROM delivery d JOIN report r ON r.id = d.report"
        " WHERE d.published = 0 AND r.answer IS NOT NULL ORDER BY d.id"
    )
    return [row for (row,) in connection.execute(query)]


def _outgoing(row: tuple[Any, ...], instant: Now) -> OutgoingAnswer:
    delivery, topic, answer, correlation, mqtt5, expiry_ms, form, device, *stamp = row
    took_ms = int(instant.since_s(*stamp) * MS_PER_S)
    if expiry_ms is not None:
        expiry_ms -= took_ms
    payload = bytes(answer or b"")
    return OutgoingAnswer(
        delivery, topic, payload, bytes(correlation), bool(mqtt5), expiry_ms, form, device, took_ms
    )


def insert(connection: sqlite3.Connection, table: str, **columns: Any) -> int:
    """Insert a row; its id. Table and columns are the journal's own names."""
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    cursor = connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
        tuple(columns.values()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
