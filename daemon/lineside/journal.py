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
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineside.errors import Reason, RejectedError
from lineside.journal_alarms import Life
from lineside.journal_bursts import group_of
from lineside.journal_clock import this_boot
from lineside.journal_deliveries import unpublished
from lineside.journal_file import Dated, Limits, nearly_full, open_file, prune, take, was_killed
from lineside.journal_rows import OPEN_COLUMNS, Accepted, Answered, NewReport, OpenReport, Rows
from lineside.ports import OutgoingAnswer
from lineside.telemetry.clock import synchronised

log = logging.getLogger(__name__)

COMMIT_BATCH = 256
PRUNE_EVERY = 500
PRUNE_EVERY_WHEN_FULL = 20

_Operation = Callable[[sqlite3.Connection], Any]


class Journal:
    """Opened once; every method may be called from any thread. `nearly_full`: take no further reports.

    `killed`: whoever had it last did not close it. `on_untaken` is told how many answers are forgotten that
    the broker never took; it must not wait.
    """

    def __init__(self, path: Path, limits: Limits, life: Life | None = None) -> None:
        self._limits = limits
        self.on_untaken: Callable[[int], None] = lambda _: None
        self._rows = Rows(this_boot(), life or Life())
        self._taken = take(path)
        self.killed = was_killed(path)
        try:
            self._connection = open_file(path, limits)
        except BaseException:
            os.close(self._taken)
            raise
        self.nearly_full = nearly_full(self._connection)
        self._dated = (Dated("report"), Dated("call"))
        self._stored = PRUNE_EVERY
        self._keep_room(self._connection)
        self._operations: queue.SimpleQueue[tuple[_Operation, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def accept(self, report: NewReport) -> Future[Accepted]:
        """Store a report; the future completes after its commit."""

        def store(connection: sqlite3.Connection) -> Accepted:
            self._stored += 1
            return self._rows.accept(connection, report)

        return self._submit(store)

    def answer(  # noqa: PLR0913 all are of one answer
        self,
        report: int,
        payload: bytes,
        *,
        set_aside: bool = False,
        stands: bool = True,
        ask_again: bool = False,
        diagnosed: bool = True,
    ) -> Future[Answered]:
        """Store an answer; the future gives what is to be published, one for each repeat of the report.

        `set_aside`: the report itself is kept, to be looked into. `stands`: its alarm's later reports get it.
        `ask_again`: the same report again is a new one. `diagnosed`: nothing else of its group need be.
        """

        def store(connection: sqlite3.Connection) -> Answered:
            return self._rows.answer(
                connection,
                report,
                payload,
                set_aside=set_aside,
                stands=stands,
                ask_again=ask_again,
                diagnosed=diagnosed,
            )

        return self._submit(store)

    def published(self, delivery: int) -> Future[None]:
        """The broker has it."""

        def mark(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE delivery SET published = 1 WHERE id = ?", (delivery,))

        return self._submit(mark)

    def refused(self, delivery: int) -> Future[None]:
        """The broker does not take it: when room is needed it is forgotten like one that it has."""

        def mark(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE delivery SET refused = 1 WHERE id = ? AND NOT refused", (delivery,))

        return self._submit(mark)

    def unpublished(self) -> Future[list[int]]:
        """Deliveries of what is answered that the broker has not taken yet, oldest first."""
        return self._submit(unpublished)

    def outgoing(self, deliveries: Iterable[int]) -> Future[list[OutgoingAnswer]]:
        """Those of them that it has not taken yet, whole; a few at once."""
        rows = tuple(deliveries)
        where = f"d.published = 0 AND d.id IN ({','.join('?' * len(rows))})"
        return self._submit(lambda connection: self._rows.deliveries(connection, where, *rows))

    def open_reports(self) -> Future[list[OpenReport]]:
        """Accepted and not yet answered, the most urgent first; their payloads left out.

        Those that get another's answer are none of them.
        """
        where = "answer IS NULL AND head IS NULL"
        query = f"SELECT {OPEN_COLUMNS}, x'' FROM report WHERE {where} ORDER BY urgency, id"  # noqa: S608
        return self._submit(lambda c: [self._rows.open_report(row) for row in c.execute(query)])

    def begin(self, report: int) -> Future[OpenReport | None]:
        """One of them, whole, counting the attempt; None when it is answered already."""
        query = f"SELECT {OPEN_COLUMNS}, payload FROM report WHERE id = ? AND answer IS NULL"  # noqa: S608

        def read(connection: sqlite3.Connection) -> OpenReport | None:
            connection.execute("UPDATE report SET attempts = attempts + 1 WHERE id = ?", (report,))
            row = connection.execute(query, (report,)).fetchone()
            if row is None:
                return None
            asked = self._rows.deliveries(
                connection,
                "(r.id = ? OR r.head = ?) AND d.published = 0 AND d.form = 'full'",
                report,
                report,
            )
            left = [delivery.remaining_ms for delivery in asked]
            last = None if None in left else max((ms for ms in left if ms is not None), default=None)
            group = group_of(connection, report)
            found = replace(self._rows.open_report(row), remaining_ms=last)
            return replace(found, group=group if group.rest else None)

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
        row = (key, digest, time.time(), answer, synchronised())

        def store(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO call VALUES (?, ?, ?, ?, ?)", row)
            self._stored += 1

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
        except Exception as error:  # noqa: BLE001  (whatever it is, nobody may be left waiting)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            log.error("the journal cannot write: %s", error)  # noqa: TRY400  (one line a batch, no trace)
            storage = RejectedError(Reason.STORAGE, f"the journal cannot write: {error}")
            outcomes = [storage] * len(batch)
        else:
            self._keep_room(connection)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, RejectedError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _keep_room(self, connection: sqlite3.Connection) -> None:
        """Prune now and then, and more often while the file is nearly full.

        What was committed stays so where this fails; it is logged, and tried again after a few more.
        """
        every = PRUNE_EVERY_WHEN_FULL if self.nearly_full else PRUNE_EVERY
        try:
            if self._stored >= every:
                self._stored = every - PRUNE_EVERY_WHEN_FULL
                untaken = prune(connection, self._limits, self._dated)
                if untaken:
                    log.warning("%d answers that the broker never took are forgotten", untaken)
                    self.on_untaken(untaken)
                self._stored = 0
            self.nearly_full = nearly_full(connection)
        except Exception as error:  # noqa: BLE001  (whatever it is, the batch is committed)
            log.warning("the journal cannot be pruned: %s", error)


def _outcome(operation: _Operation, connection: sqlite3.Connection) -> Any:
    """The operation's result; a refusal concerns its own future alone."""
    try:
        return operation(connection)
    except RejectedError as refusal:
        return refusal
