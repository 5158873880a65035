"""The journal's SQLite file: schema, opening and bounds. Knows nothing of what is done with it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.errors import LinesideError

SCHEMA_VERSION = 2
BUSY_TIMEOUT_S = 5.0
# Of the bound; the rest is for answers.
FULL = 0.8
OWN = "make it writable for the daemon's user, or set [journal] path"

_SCHEMA = f"""
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    received_s REAL NOT NULL,
    boot_id TEXT NOT NULL,
    received_boot_ns INTEGER NOT NULL,
    device TEXT NOT NULL,
    payload BLOB NOT NULL,
    urgency INTEGER NOT NULL,
    timeout_ms INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    answer BLOB
) STRICT;
CREATE INDEX report_key ON report (key);
CREATE INDEX report_open ON report (id) WHERE answer IS NULL;
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    topic TEXT NOT NULL,
    correlation BLOB NOT NULL,
    mqtt5 INTEGER NOT NULL,
    expiry_ms INTEGER,
    received_boot_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    form TEXT NOT NULL DEFAULT 'full'
) STRICT;
CREATE INDEX delivery_report ON delivery (report);
CREATE INDEX delivery_open ON delivery (id) WHERE published = 0;
CREATE TABLE call (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    received_s REAL NOT NULL,
    answer BLOB NOT NULL
) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
"""
_FROM_1 = f"""BEGIN IMMEDIATE;
ALTER TABLE delivery ADD COLUMN form TEXT NOT NULL DEFAULT 'full';
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the journal may grow to."""

    keep_answers: int
    max_bytes: int


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


def open_file(path: Path, limits: Limits) -> sqlite3.Connection:
    """Open or create the file, and check it. The caller has taken it."""
    hint = "move the file away (it is kept, not used) and start again; or lineside restore a backup"
    try:
        # Reports are the plant's own affair.
        path.touch(mode=0o600)
        with path.open("r+b"):
            pass
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on the disk before it returns. NORMAL would lose the last ones with the power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version == 1:
            connection.executescript(_FROM_1)
        elif version != SCHEMA_VERSION:
            message = f"{path} has schema {version}, this daemon writes {SCHEMA_VERSION}"
            raise LinesideError("open journal", message, "start the version of lineside that wrote it")
        check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise LinesideError("open journal", f"{path} is damaged: {check}", hint)
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {limits.max_bytes // page_size}")
        prune(connection, limits)
    except OSError as error:
        raise LinesideError("open journal", f"{path}: {error.strerror}", OWN) from error
    except sqlite3.Error as error:
        raise LinesideError("open journal", f"{path}: {error}", hint) from error
    return connection


def nearly_full(connection: sqlite3.Connection) -> bool:
    """Whether new reports have to be refused, so that there is room for answers to those that are there."""
    free, used, most = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("freelist_count", "page_count", "max_page_count")
    )
    return bool(used - free > most * FULL)


def prune(connection: sqlite3.Connection, limits: Limits) -> None:
    """Forget the oldest finished reports and calls beyond `keep_answers`, half of them when nearly full."""
    full = nearly_full(connection)
    waiting = "SELECT 1 FROM delivery WHERE report = report.id AND published = 0"
    for table, done in (("report", f"answer IS NOT NULL AND NOT EXISTS ({waiting})"), ("call", "1")):
        keep = limits.keep_answers
        if full:
            keep = min(keep, connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] // 2)  # noqa: S608
        oldest = f"SELECT max(rowid) - ? FROM {table}"  # noqa: S608
        connection.execute(f"DELETE FROM {table} WHERE {done} AND rowid <= ({oldest})", (keep,))  # noqa: S608


def insert(connection: sqlite3.Connection, table: str, **columns: Any) -> int:
    """Insert a row; its id. Table and columns are names from this file."""
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    cursor = connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
        tuple(columns.values()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
