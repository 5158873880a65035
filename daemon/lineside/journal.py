"""Durable inbox and outbox in SQLite. Knows nothing of MQTT, of diagnoses and of event loops.

One thread writes. It commits what has queued up in one transaction, so that many reports share one sync, and
completes their futures only after the commit.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineside.errors import Reason, RejectedError
from lineside.journal_file import Limits, insert, nearly_full, open_file, prune, take
from lineside.ports import Copy, IncomingReport, OutgoingAnswer

log = logging.getLogger(__name__)

COMMIT_BATCH = 256
PRUNE_EVERY = 500
PRUNE_EVERY_WHEN_FULL = 20
REPEAT_WINDOW_S = 600
_OPEN_COLUMNS = "id, device, urgency, timeout_ms, attempts, boot_id, received_boot_ns"


@dataclass(frozen=True, slots=True)
class NewReport:
    """What is stored of a report. `key` is the same for a repeat of it. `answer`: it is answered at once.

    `copies`: where else its answer goes.
    """

    incoming: IncomingReport
    key: str
    urgency: int
    timeout_ms: int | None
    answer: bytes | None = None
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The commit's outcome: work to do when `fresh`, or what to publish when an answer is there already."""

    report: int
    fresh: bool
    deliveries: tuple[OutgoingAnswer, ...] = ()


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


_Operation = Callable[[sqlite3.Connection], Any]


class Journal:
    """Opened once; every method may be called from any thread. `nearly_full`: take no further reports."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        self._taken = take(path)
        try:
            self._connection = open_file(path, limits)
        except BaseException:
            os.close(self._taken)
            raise
        self._accepts = 0
        self.nearly_full = nearly_full(self._connection)
        self._operations: queue.SimpleQueue[tuple[_Operation, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def accept(self, report: NewReport) -> Future[Accepted]:
        """Store a report; the future completes after its commit."""
        return self._submit(lambda connection: self._accept(connection, report))

    def answer(self, report: int, payload: bytes) -> Future[list[OutgoingAnswer]]:
        """Store an answer; the future gives what is to be published, one for each repeat of the report."""

        def store(connection: sqlite3.Connection) -> list[OutgoingAnswer]:
            connection.execute("UPDATE report SET answer = ?, payload = x'' WHERE id = ?", (payload, report))
            return self._deliveries(connection, "d.published = 0 AND r.id = ?", report)

        return self._submit(store)

    def published(self, delivery: int) -> Future[None]:
        """The broker has it."""

        def mark(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE delivery SET published = 1 WHERE id = ?", (delivery,))

        return self._submit(mark)

    def unpublished(self) -> Future[list[OutgoingAnswer]]:
        """Answered and not yet with the broker, oldest first."""
        where = "d.published = 0 AND r.answer IS NOT NULL"
        return self._submit(lambda connection: self._deliveries(connection, where))

    def open_reports(self) -> Future[list[OpenReport]]:
        """Accepted and not yet answered, the most urgent first; their payloads left out."""
        query = f"SELECT {_OPEN_COLUMNS}, x'' FROM report WHERE answer IS NULL ORDER BY urgency, id"  # noqa: S608
        return self._submit(lambda c: [self._open_report(row) for row in c.execute(query)])

    def begin(self, report: int) -> Future[OpenReport | None]:
        """One of them, whole, counting the attempt; None when it is answered already."""
        query = f"SELECT {_OPEN_COLUMNS}, payload FROM report WHERE id = ? AND answer IS NULL"  # noqa: S608

        def read(connection: sqlite3.Connection) -> OpenReport | None:
            connection.execute("UPDATE report SET attempts = attempts + 1 WHERE id = ?", (report,))
            row = connection.execute(query, (report,)).fetchone()
            if row is None:
                return None
            asked = self._deliveries(connection, "r.id = ? AND d.published = 0 AND d.form = 'full'", report)
            left = [delivery.remaining_ms for delivery in asked]
            last = None if None in left else max((ms for ms in left if ms is not None), default=None)
            return replace(self._open_report(row), remaining_ms=last)

        return self._submit(read)

    def put_back(self, report: int) -> Future[None]:
        """The attempt was given up in good order: it does not count."""

        def mark(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE report SET attempts = attempts - 1 WHERE id = ?", (report,))

        return self._submit(mark)

    def recall(self, key: str, digest: str) -> Future[bytes | None]:
        """The stored answer of a call, None where there is none. Another digest: RejectedError(INVALID)."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT digest, answer FROM call WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            if row[0] != digest:
                message = "idempotency_key was used for another request"
                raise RejectedError(Reason.INVALID, message, field="options.idempotency_key")
            return bytes(row[1])

        return self._submit(read)

    def remember(self, key: str, digest: str, answer: bytes) -> Future[None]:
        """Store the answer of a call."""
        row = (key, digest, time.time(), answer)

        def store(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO call VALUES (?, ?, ?, ?)", row)
            self._accepts += 1

        return self._submit(store)

    def close(self) -> None:
        """Commit what is queued, then close the file. Idempotent."""
        if self._thread.is_alive():
            self._operations.put(None)
            self._thread.join()
            self._connection.close()
            os.close(self._taken)

    def _submit(self, operation: _Operation) -> Future[Any]:
        future: Future[Any] = Future()
        # Who waits may give up, the operation is done all the same: a cancelled future would take no outcome.
        future.set_running_or_notify_cancel()
        self._operations.put((operation, future))
        return future

    def _write(self) -> None:
        running = True
        while running:
            batch = [self._operations.get()]
            while len(batch) < COMMIT_BATCH and not self._operations.empty():
                batch.append(self._operations.get_nowait())
            running = None not in batch
            self._commit([item for item in batch if item is not None])

    def _commit(self, batch: list[tuple[_Operation, Future[Any]]]) -> None:
        """Run and commit a batch; a refusal concerns its own future, a storage error all of them."""
        connection = self._connection
        outcomes: list[Any] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes.extend(_outcome(operation, connection) for operation, _ in batch)
            connection.execute("COMMIT")
            self._keep_room(connection)
        except Exception as error:  # noqa: BLE001  (whatever it is, nobody may be left waiting)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            log.error("the journal cannot write: %s", error)  # noqa: TRY400  (one line a batch, no trace)
            storage = RejectedError(Reason.STORAGE, f"the journal cannot write: {error}")
            outcomes = [storage] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, RejectedError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _accept(self, connection: sqlite3.Connection, new: NewReport) -> Accepted:
        now_s, now_boot_ns = time.time(), _boot_ns()
        known = connection.execute(
            "SELECT id, answer FROM report WHERE key = ? AND received_s > ? ORDER BY id DESC LIMIT 1",
            (new.key, now_s - REPEAT_WINDOW_S),
        ).fetchone()
        report, answer = known or (self._add_report(connection, new, now_s, now_boot_ns), new.answer)
        deliveries = self._add_deliveries(connection, report, new, now_boot_ns)
        if answer is None:
            return Accepted(report, fresh=known is None)
        found = [self._deliveries(connection, "d.id = ?", delivery)[0] for delivery in deliveries]
        return Accepted(report, fresh=False, deliveries=tuple(found))

    def _add_report(
        self, connection: sqlite3.Connection, new: NewReport, now_s: float, now_boot_ns: int
    ) -> int:
        self._accepts += 1
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

    def _deliveries(self, connection: sqlite3.Connection, where: str, *values: int) -> list[OutgoingAnswer]:
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

    def _open_report(self, row: tuple[Any, ...]) -> OpenReport:
        report, device, urgency, timeout_ms, attempts, boot_id, received_boot_ns, payload = row
        waited_ns = self._waited_ns(boot_id, received_boot_ns)
        return OpenReport(report, bytes(payload), device, urgency, timeout_ms, waited_ns, attempts)

    def _waited_ns(self, boot_id: str, received_boot_ns: int) -> int:
        """A clock that survives a restart of the daemon, but says nothing across a reboot."""
        return _boot_ns() - received_boot_ns if boot_id == self._boot_id else 0

    def _keep_room(self, connection: sqlite3.Connection) -> None:
        """Prune now and then, and more often while the file is nearly full."""
        every = PRUNE_EVERY_WHEN_FULL if self.nearly_full else PRUNE_EVERY
        if self._accepts >= every:
            self._accepts = 0
            prune(connection, self._limits)
        self.nearly_full = nearly_full(connection)


def _outcome(operation: _Operation, connection: sqlite3.Connection) -> Any:
    """The operation's result; a refusal concerns its own future alone."""
    try:
        return operation(connection)
    except RejectedError as refusal:
        return refusal


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
