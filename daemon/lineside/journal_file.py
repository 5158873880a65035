"""The journal's SQLite file: opening and bounds. Knows nothing of what is done with it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lineside.errors import LinesideError
from lineside.journal_schema import SCHEMA_VERSION, upgrade, version_of
from lineside.plain_files import open_plain
from lineside.telemetry.clock import synchronised

BUSY_TIMEOUT_S = 5.0
# Of the bound; the rest is for answers.
FULL = 0.8
# The log's size on the disk once it has been taken over into the file.
MAX_IDLE_WAL_BYTES = 16_777_216
# Of pages that SQLite keeps: full within minutes, so that memory is flat from then on.
CACHE_KIB = 512
# At once, so that nobody waits for it.
PRUNE_ROWS = 2000
DAY_S = 86_400.0
ROOM = "free space on the disk that holds it (df), then start again"
NEWER = "start the version of lineside that wrote it, or restore a backup of this version's"
OWN = "make it writable for the daemon's user, or set [journal] path"
_WAITING = "SELECT 1 FROM delivery WHERE report = report.id AND published = 0 AND NOT refused"
# What may go before it is too old.
_DONE = {"report": f"answer IS NOT NULL AND NOT EXISTS ({_WAITING})", "call": "1"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the journal may grow to, and how long answers are kept at most."""

    keep_answers: int
    max_bytes: int
    keep_days: int = 90


def take(path: Path) -> int:
    """Take the journal for this process alone; the handle holds it until it is closed.

    A file of its own beside it: with a lock of SQLite's nobody could copy the journal while it is in use.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
    except BlockingIOError as error:
        hint = "another daemon is running: stop it first, or give this one a state_dir of its own"
        raise LinesideError("open journal", f"{path} is taken", hint) from error
    except OSError as error:
        raise LinesideError("open journal", f"{path}: {error.strerror}", OWN) from error
    return handle


def was_killed(path: Path) -> bool:
    """Whether whoever had the journal last did not close it: SQLite takes its log away then."""
    return path.with_name(f"{path.name}-wal").exists()


def open_file(path: Path, limits: Limits) -> sqlite3.Connection:
    """Open or create the file, and check it. The caller has taken it."""
    hint = "move the file away (it is kept, not used) and start again; or lineside restore a backup"
    try:
        # After a kill indexes are checked, too.
        killed = was_killed(path)
        # Reports are the plant's own affair.
        path.touch(mode=0o600)
        open_plain(path).close()
        with path.open("r+b"):
            pass
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on the disk before it returns. NORMAL would lose the last ones with the power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_WAL_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        version = version_of(connection)
        if version > SCHEMA_VERSION:
            message = f"{path} has schema {version}, this version of lineside writes {SCHEMA_VERSION}"
            raise LinesideError("open journal", message, NEWER)
        check = connection.execute(f"PRAGMA {'integrity' if killed else 'quick'}_check(1)").fetchone()[0]
        if check != "ok":
            raise LinesideError("open journal", f"{path} is damaged: {check}", hint)
        if version < SCHEMA_VERSION:
            upgrade(connection, version)
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {limits.max_bytes // page_size}")
    except OSError as error:
        raise LinesideError("open journal", f"{path}: {error.strerror}", OWN) from error
    except sqlite3.Error as error:
        raise LinesideError(
            "open journal", f"{path}: {error}", ROOM if "is full" in str(error) else hint
        ) from error
    return connection


def nearly_full(connection: sqlite3.Connection) -> bool:
    """Whether new reports have to be refused, so that there is room for answers to those that are there."""
    free, used, most = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("freelist_count", "page_count", "max_page_count")
    )
    return bool(used - free > most * FULL)


@dataclass(slots=True)
class Dated:
    """The newest date that a right clock gave a row of `table`, and the first row that has such a date.

    Kept from one prune to the next, so that none reads all rows: of those up to `seen` it is known, and none
    before `first` has one.
    """

    table: str
    newest_s: float = 0.0
    first: int = 0
    seen: int = 0

    def look(self, connection: sqlite3.Connection) -> None:
        """Take in what came since."""
        newest = f"SELECT max(received_s) FROM {self.table} WHERE rowid > ? AND synchronised"  # noqa: S608
        first = f"SELECT min(rowid) FROM {self.table} WHERE rowid >= ? AND synchronised"  # noqa: S608
        self.newest_s = max(self.newest_s, connection.execute(newest, (self.seen,)).fetchone()[0] or 0.0)
        self.seen = self._last(connection)
        self.first = connection.execute(first, (self.first,)).fetchone()[0] or self.seen + 1

    def forgotten(self, connection: sqlite3.Connection) -> None:
        """Rows are gone."""
        if self.newest_s > time.time():
            # The date to come may have been theirs.
            self.newest_s, self.seen = 0.0, 0
        # Of a table that is empty ids begin anew.
        last = self._last(connection)
        self.seen, self.first = min(self.seen, last), min(self.first, last + 1)

    def _last(self, connection: sqlite3.Connection) -> int:
        query = f"SELECT coalesce(max(rowid), 0) FROM {self.table}"  # noqa: S608
        return int(connection.execute(query).fetchone()[0])


def prune(connection: sqlite3.Connection, limits: Limits, dated: Iterable[Dated]) -> int:
    """Forget the oldest of what is done: half when nearly full; where the clock tells how old it is, what is
    beyond `keep_answers`, and by age.

    A few at a time. Reports that are open stay; answers that the broker has not been given go by age alone,
    those that it refuses like those that it took. Returns how many it never took.
    """
    untaken = 0
    full = nearly_full(connection)
    for rows in dated:
        rows.look(connection)
        table, before_s = rows.table, _too_old_s(rows, limits)
        keep = limits.keep_answers
        if full:
            keep = min(keep, connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] // 2)  # noqa: S608
        if full or before_s is not None:
            beyond = f"rowid <= (SELECT max(rowid) - ? FROM {table})"  # noqa: S608
            untaken += _forget(connection, rows, f"{_DONE[table]} AND {beyond}", keep)
        if before_s is not None:
            # Rows that a wrong clock dated are as old as the next one that a right clock did.
            right = (
                f"FROM {table} WHERE synchronised AND rowid >= {rows.first} ORDER BY rowid LIMIT {PRUNE_ROWS}"
            )
            last = f"SELECT max(rowid) FROM (SELECT rowid, received_s {right}) WHERE received_s < ?"  # noqa: S608
            untaken += _forget(connection, rows, f"answer IS NOT NULL AND rowid <= ({last})", before_s)
    return untaken


def _forget(connection: sqlite3.Connection, rows: Dated, where: str, value: float) -> int:
    """Returns how many answers were among them that the broker never took."""
    few = f"SELECT rowid FROM {rows.table} WHERE {where} ORDER BY rowid LIMIT {PRUNE_ROWS}"  # noqa: S608
    untaken = 0
    if rows.table == "report":
        query = f"SELECT count(*) FROM delivery WHERE published = 0 AND report IN ({few})"  # noqa: S608
        (untaken,) = connection.execute(query, (value,)).fetchone()
    if connection.execute(f"DELETE FROM {rows.table} WHERE rowid IN ({few})", (value,)).rowcount:  # noqa: S608
        rows.forgotten(connection)
    return untaken


def _too_old_s(rows: Dated, limits: Limits) -> float | None:
    """What was received before it is too old; None where the clock cannot tell."""
    now_s = time.time()
    if rows.newest_s > now_s or not synchronised():
        return None
    return now_s - limits.keep_days * DAY_S
