"""The journal's rows: reports and where their answers go. Knows nothing of threads and transactions."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from lineside.ports import Copy, IncomingReport, OutgoingAnswer

REPEAT_WINDOW_S = 600
# Of a broker that was not told that we have it: it tells us again as soon as it can, after however long.
REDELIVERY_WINDOW_S = 604_800
OPEN_COLUMNS = "id, device, urgency, timeout_ms, attempts, boot_id, received_boot_ns"


@dataclass(frozen=True, slots=True)
class NewReport:
    """What is stored of a report. `key` is the same for a repeat of it, and begins with `name`, which is the
    same for all of one device and id; empty: it has no id.

    `answer`: it is answered at once. `copies`: where else its answer goes.
    """

    incoming: IncomingReport
    key: str
    urgency: int
    timeout_ms: int | None
    answer: bytes | None = None
    copies: tuple[Copy, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The commit's outcome: work to do when `fresh`, or what to publish when an answer is there already.

    `reused`: its id came with another content before, within the window.
    """

    report: int
    fresh: bool
    deliveries: tuple[OutgoingAnswer, ...] = ()
    reused: bool = False


@dataclass(frozen=True, slots=True)
class OpenReport:
    """Accepted and not yet answered.

    `waited_ns` since it was received; a reboot starts the count anew. `remaining_ms` until the last message
    that asked for it expires; None: never. `attempts` to answer it, this one included.
    """

    report: int
    payload: bytes
    device: str
    urgency: int
    timeout_ms: int | None
    waited_ns: int
    attempts: int
    remaining_ms: int | None = None


class Rows:
    """Reads and writes them over the connection that it is given, of one boot of the machine."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id

    def accept(self, connection: sqlite3.Connection, new: NewReport) -> Accepted:
        """Store a report, or one more asker for one that is known."""
        now_s, now_boot_ns = time.time(), _boot_ns()
        since_s = now_s - (REDELIVERY_WINDOW_S if new.name and new.incoming.redelivered else REPEAT_WINDOW_S)
        known = connection.execute(
            "SELECT id, answer FROM report WHERE key = ? AND received_s > ? ORDER BY id DESC LIMIT 1",
            (new.key, since_s),
        ).fetchone()
        reused = known is None and _is_reused(connection, new, since_s)
        report, answer = known or (self._add_report(connection, new, now_s, now_boot_ns), new.answer)
        deliveries = self._add_deliveries(connection, report, new, now_boot_ns)
        if answer is None:
            return Accepted(report, fresh=known is None, reused=reused)
        found = [self.deliveries(connection, "d.id = ?", delivery)[0] for delivery in deliveries]
        return Accepted(report, fresh=False, deliveries=tuple(found), reused=reused)

    def _add_report(
        self, connection: sqlite3.Connection, new: NewReport, now_s: float, now_boot_ns: int
    ) -> int:
        payload = b"" if new.answer is not None else new.incoming.payload
        return insert(
            connection,
            "report",
            key=new.key,
            received_s=now_s,
            boot_id=self._boot_id,
            received_boot_ns=now_boot_ns,
            device=new.incoming.device,
            payload=payload,
            urgency=new.urgency,
            timeout_ms=new.timeout_ms,
            answer=new.answer,
        )

    def _add_deliveries(
        self, connection: sqlite3.Connection, report: int, new: NewReport, now_boot_ns: int
    ) -> list[int]:
        """The full answer's, then its copies'; a delivery that still waits is not added again."""
        incoming = new.incoming
        full = Copy("full", incoming.reply_topic, incoming.remaining_ms)
        added = [self._add_delivery(connection, report, incoming, full, now_boot_ns)]
        for copy in new.copies:
            if copy.form == "cleared":
                # What has not been retained yet must not be after this.
                given_up = (
                    "UPDATE delivery SET published = 1 WHERE published = 0 AND form = 'alarm' AND topic = ?"
                )
                connection.execute(given_up, (copy.topic,))
            added.append(self._add_delivery(connection, report, incoming, copy, now_boot_ns))
        return added

    def _add_delivery(
        self,
        connection: sqlite3.Connection,
        report: int,
        incoming: IncomingReport,
        copy: Copy,
        now_boot_ns: int,
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
            received_boot_ns=now_boot_ns,
            boot_id=self._boot_id,
            form=copy.form,
        )

    def deliveries(self, connection: sqlite3.Connection, where: str, *values: int) -> list[OutgoingAnswer]:
        """What is to be published; `where` is the caller's own SQL on delivery d and report r."""
        query = f"""SELECT d.id, d.topic, r.answer, d.correlation, d.mqtt5, d.expiry_ms, d.received_boot_ns,
            d.boot_id, d.form FROM delivery d JOIN report r ON r.id = d.report WHERE {where} ORDER BY d.id"""  # noqa: S608
        return [self._outgoing(row) for row in connection.execute(query, values)]

    def _outgoing(self, row: tuple[Any, ...]) -> OutgoingAnswer:
        delivery, topic, answer, correlation, mqtt5, expiry_ms, received_boot_ns, boot_id, form = row
        answer = answer or b""
        if expiry_ms is not None:
            expiry_ms -= self._waited_ns(boot_id, received_boot_ns) // 1_000_000
        return OutgoingAnswer(
            delivery, topic, bytes(answer), bytes(correlation), bool(mqtt5), expiry_ms, form
        )

    def open_report(self, row: tuple[Any, ...]) -> OpenReport:
        """A row of OPEN_COLUMNS and the payload."""
        report, device, urgency, timeout_ms, attempts, boot_id, received_boot_ns, payload = row
        waited_ns = self._waited_ns(boot_id, received_boot_ns)
        return OpenReport(report, bytes(payload), device, urgency, timeout_ms, waited_ns, attempts)

    def _waited_ns(self, boot_id: str, received_boot_ns: int) -> int:
        """A clock that survives a restart of the daemon, but says nothing across a reboot."""
        return _boot_ns() - received_boot_ns if boot_id == self._boot_id else 0


def _is_reused(connection: sqlite3.Connection, new: NewReport, since_s: float) -> bool:
    """Whether another report has its name, such as of a controller whose counter began anew."""
    if not new.name:
        return False
    # A range of the key's index: what begins with the name.
    query = """SELECT 1 FROM report WHERE key >= ? AND key < ? AND substr(key, 1, length(?)) != ?
        AND received_s > ? LIMIT 1"""
    values = (new.name, f"{new.name}~", new.key, new.key, since_s)
    return connection.execute(query, values).fetchone() is not None


def insert(connection: sqlite3.Connection, table: str, **columns: Any) -> int:
    """Insert a row; its id. Table and columns are names from this file."""
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    cursor = connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
        tuple(columns.values()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
