"""Diagnoses that were given, and verdicts on them. Knows nothing of wires, screens or manuals."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from lineside.diagnosis.diagnosis import Diagnosis
from lineside.diagnosis.report import Report
from lineside.errors import LinesideError, Reason, RejectedError
from lineside.feedback.file import FeedbackLimits, open_file, prune, transaction
from lineside.feedback.verdict import Feedback, Person

State = Literal["pending", "approved", "rejected"]
STATES: tuple[State, ...] = ("pending", "approved", "rejected")
PRUNE_EVERY = 500


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis as it was given, and to what. `entries`: ids of the entries it rests on, best first."""

    report: Report
    diagnosis: Diagnosis
    entries: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Who approved or rejected a verdict, when, and which entry it became or why it did not."""

    by: Person
    at: str
    entry: str = ""
    why: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with everything that is known of it."""

    id: str
    received_at: str
    state: State
    feedback: Feedback
    issued: Issued
    decision: Decision | None = None


_QUERY = """SELECT f.id, f.received_at, f.state, f.body, f.decision, i.body
    FROM feedback f JOIN issued i USING (diagnosis_id)"""


class FeedbackStore:
    """Thread-safe; blocks. Raises RejectedError(STORAGE) where the file cannot be written."""

    def __init__(self, path: Path, limits: FeedbackLimits | None = None) -> None:
        self._limits = limits or FeedbackLimits()
        self._db = open_file(path, self._limits)
        self._lock = threading.Lock()
        self._since_prune = PRUNE_EVERY

    def record(self, issued: Issued) -> None:
        """Remember a diagnosis, so that it can be judged."""
        diagnosis = issued.diagnosis
        row = (diagnosis.diagnosis_id, diagnosis.dev.id, msgspec.json.encode(issued))
        with self._lock, transaction(self._db, durable=False):
            self._since_prune += 1
            if self._since_prune >= PRUNE_EVERY:
                self._since_prune = 0
                prune(self._db, self._limits)
            self._db.execute(
                "INSERT OR IGNORE INTO issued (diagnosis_id, device, body) VALUES (?, ?, ?)", row
            )

    def add(self, feedback: Feedback, received_at: str, device: str = "") -> str:
        """Store a verdict; the device that it is about. One that is there already changes nothing.

        Raises RejectedError where the diagnosis is unknown or not of `device`, or where there is no room.
        """
        with self._lock, transaction(self._db, durable=True):
            found = self._db.execute(
                "SELECT device FROM issued WHERE diagnosis_id = ?", (feedback.diagnosis_id,)
            ).fetchone()
            if found is None:
                message = "no diagnosis of this id was given here, or it was so long ago that it is forgotten"
                raise RejectedError(Reason.NOT_FOUND, message, field="diagnosis_id")
            if device and found[0] != device:
                message = f"the diagnosis is of another device than {device!r}, which the topic names"
                raise RejectedError(Reason.INVALID, message, field="diagnosis_id")
            if not self._known(feedback.feedback_id):
                self._check_room(feedback.diagnosis_id)
                row = (
                    feedback.feedback_id,
                    feedback.diagnosis_id,
                    received_at,
                    msgspec.json.encode(feedback),
                )
                self._db.execute(
                    "INSERT INTO feedback (id, diagnosis_id, received_at, body) VALUES (?, ?, ?, ?)", row
                )
            return str(found[0])

    def cases(self, state: State | None = None) -> Iterator[Case]:
        """The verdicts, oldest first, all or those in one state."""
        where, values = ("", ()) if state is None else (" WHERE f.state = ?", (state,))
        with self._lock:
            rows = self._db.execute(f"{_QUERY}{where} ORDER BY f.row", values).fetchall()
        return map(_case, rows)

    def case(self, prefix: str) -> Case:
        """The one verdict whose id begins so. Raises LinesideError where there is none, or more than one."""
        with self._lock:
            found = self._db.execute(
                f"{_QUERY} WHERE substr(f.id, 1, ?) = ? LIMIT 2", (len(prefix), prefix)
            ).fetchall()
        if len(found) != 1 or not prefix:
            message = f"{'several verdicts begin' if found else 'no verdict begins'} with {prefix!r}"
            raise LinesideError("find verdict", message, "`lineside feedback list --all` shows their ids")
        return _case(found[0])

    def decide(self, case: Case, state: State, decision: Decision) -> None:
        """Approve or reject, once. Raises LinesideError where that was done already."""
        with self._lock, transaction(self._db, durable=True):
            changed = self._db.execute(
                "UPDATE feedback SET state = ?, decision = ? WHERE id = ? AND state = 'pending'",
                (state, msgspec.json.encode(decision), case.id),
            ).rowcount
        if not changed:
            raise already_decided(case)

    def last_of(self, device: str, count: int) -> tuple[Issued, ...]:
        """The last diagnoses of a device, latest first. Raises RejectedError where they cannot be read."""
        query = "SELECT body FROM issued WHERE device = ? ORDER BY row DESC LIMIT ?"
        try:
            with self._lock:
                rows = self._db.execute(query, (device, count)).fetchall()
            return tuple(msgspec.json.decode(body, type=Issued) for (body,) in rows)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise RejectedError(Reason.STORAGE, f"the diagnoses given cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._db.close()

    def _known(self, feedback_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM feedback WHERE id = ?", (feedback_id,)).fetchone() is not None

    def _check_room(self, diagnosis_id: str) -> None:
        count = "SELECT count(*) FROM feedback"
        (total,) = self._db.execute(count).fetchone()
        (of_this,) = self._db.execute(f"{count} WHERE diagnosis_id = ?", (diagnosis_id,)).fetchone()
        if of_this >= self._limits.max_verdicts_each:
            message = f"this diagnosis has {of_this} verdicts already"
            raise RejectedError(Reason.INVALID, message, field="diagnosis_id")
        if total >= self._limits.max_verdicts:
            message = f"{total} verdicts are kept; export them and move feedback.db away"
            raise RejectedError(Reason.OVERLOAD, message)


def already_decided(case: Case) -> LinesideError:
    """The error of a second decision."""
    hint = "a verdict is decided once; give a new one if it was wrong"
    return LinesideError("decide on verdict", f"{case.id} is no longer pending", hint)


def _case(row: tuple[str, str, State, bytes, bytes | None, bytes]) -> Case:
    feedback_id, received_at, state, body, decision, issued = row
    return Case(
        id=feedback_id,
        received_at=received_at,
        state=state,
        feedback=msgspec.json.decode(body, type=Feedback),
        issued=msgspec.json.decode(issued, type=Issued),
        decision=None if decision is None else msgspec.json.decode(decision, type=Decision),
    )
