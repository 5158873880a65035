"""What a journal holds, shown to a person, and a report tried again. Knows nothing of diagnoses."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lineside.errors import LinesideError
from lineside.journal_clock import this_boot
from lineside.journal_file import BUSY_TIMEOUT_S, take
from lineside.journal_schema import SCHEMA_VERSION, version_of

State = Literal["open", "poison", "unpublished", "done"]
STATES: tuple[State, ...] = ("open", "poison", "unpublished", "done")
_STATE = """CASE WHEN set_aside THEN 'poison' WHEN answer IS NULL THEN 'open'
    WHEN EXISTS (SELECT 1 FROM delivery WHERE report = report.id AND published = 0) THEN 'unpublished'
    ELSE 'done' END"""
_QUERY = f"""SELECT id, {_STATE} AS state, device, received_s, attempts, payload, answer FROM report
    WHERE (:state IS NULL OR state = :state) AND (:id IS NULL OR id = :id) ORDER BY id"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Kept:
    """A report. `payload` is empty once answered, unless it was set aside; `answer`: None while open."""

    id: int
    state: State
    device: str
    received_s: float
    attempts: int
    payload: bytes
    answer: bytes | None


def kept(path: Path, state: State | None = None) -> Iterator[Kept]:
    """The reports in that state, oldest first, as at one instant; a daemon may go on meanwhile."""
    with _opened(path, "ro") as connection:
        for row in connection.execute(_QUERY, {"state": state, "id": None}):
            yield Kept(*row)


def find(path: Path, report: int) -> Kept:
    """One of them. LinesideError where there is none."""
    with _opened(path, "ro") as connection:
        return _find(connection, report)


def retry(path: Path, report: int) -> None:
    """Open again what was set aside: attempts and time begin anew, its asker gets the new answer, too.

    LinesideError for any other report, and while a daemon has the journal.
    """
    with _opened(path, "ro") as connection:
        _poisoned(connection, report)
    handle = take(path)
    try:
        with _opened(path, "rw") as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            _poisoned(connection, report)
            # The date at which it came stays, for people: it is not what time is counted from now.
            anew = "received_boot_ns = ?, boot_id = ?, synchronised = 0"
            now = (time.clock_gettime_ns(time.CLOCK_BOOTTIME), this_boot(), report)
            connection.execute(
                f"UPDATE report SET answer = NULL, set_aside = 0, attempts = 0, {anew} WHERE id = ?",  # noqa: S608
                now,
            )
            # Who asked may have been told long ago, and its expiry be past.
            connection.execute(
                f"UPDATE delivery SET published = 0, expiry_ms = NULL, {anew} WHERE report = ?",  # noqa: S608
                now,
            )
    finally:
        os.close(handle)


def _poisoned(connection: sqlite3.Connection, report: int) -> None:
    found = _find(connection, report)
    if found.state != "poison":
        hint = "lineside journal list --state poison shows what can be tried again"
        raise LinesideError("retry report", f"report {report} was not set aside: it is {found.state}", hint)


def _find(connection: sqlite3.Connection, report: int) -> Kept:
    row = connection.execute(_QUERY, {"state": None, "id": report}).fetchone()
    if row is None:
        raise LinesideError("find report", f"the journal has no report {report}", "see lineside journal list")
    return Kept(*row)


@contextlib.contextmanager
def _opened(path: Path, mode: Literal["ro", "rw"]) -> Iterator[sqlite3.Connection]:
    hint = "run it where the daemon runs, as its user or root, with its configuration (--config)"
    if not path.exists():
        raise LinesideError("open journal", f"{path} is not there", hint)
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        with contextlib.closing(connection):
            if (version := version_of(connection)) != SCHEMA_VERSION:
                message = f"{path} has schema {version}, this version of lineside reads {SCHEMA_VERSION}"
                raise LinesideError("open journal", message, "start the daemon of this version on it first")
            yield connection
    except sqlite3.Error as error:
        raise LinesideError("open journal", f"{path}: {error}", hint) from error
