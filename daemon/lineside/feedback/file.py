"""The feedback's SQLite file: schema, opening and bounds. Knows nothing of what is done with it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lineside.config import FeedbackConfig
from lineside.errors import LinesideError, Reason, RejectedError

SCHEMA_VERSION = 1
# Of pages that SQLite keeps; see the journal's.
CACHE_KIB = 512
BUSY_TIMEOUT_S = 5.0
# Of the bound; what is beyond is for verdicts.
FULL = 0.8

_SCHEMA = f"""
CREATE TABLE issued (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    diagnosis_id TEXT NOT NULL UNIQUE,
    device TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE feedback (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    diagnosis_id TEXT NOT NULL REFERENCES issued (diagnosis_id),
    received_at TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    decision BLOB
) STRICT;
CREATE INDEX feedback_diagnosis ON feedback (diagnosis_id);
PRAGMA user_version = {SCHEMA_VERSION};
"""


@dataclass(frozen=True, slots=True)
class FeedbackLimits:
    """What the file may grow to: diagnoses that can still be judged, verdicts, and bytes."""

    keep_diagnoses: int = 20_000
    max_verdicts: int = 100_000
    max_verdicts_each: int = 16
    max_bytes: int = 268_435_456


def limits_of(config: FeedbackConfig) -> FeedbackLimits:
    """The configured bounds."""
    return FeedbackLimits(keep_diagnoses=config.keep_diagnoses, max_bytes=config.max_bytes)


def open_file(path: Path, limits: FeedbackLimits) -> sqlite3.Connection:
    """Open or create the file. Daemon and command line may have it open side by side."""
    hint = "make it writable for this user, or set [feedback] path; a damaged file can be moved away"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Who judged what is the plant's own affair.
        path.touch(mode=0o600)
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("COMMIT")
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != SCHEMA_VERSION:
            message = f"{path} has schema {version}, this version writes {SCHEMA_VERSION}"
            raise LinesideError("open feedback", message, "use the version of lineside that wrote it")
        # Files from before it was there get it too.
        db.execute("CREATE INDEX IF NOT EXISTS issued_device ON issued (device)")
        page_size = db.execute("PRAGMA page_size").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {limits.max_bytes // page_size}")
    except OSError as error:
        raise LinesideError("open feedback", f"{path}: {error.strerror}", hint) from error
    except sqlite3.Error as error:
        raise LinesideError("open feedback", f"{path}: {error}", hint) from error
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, *, durable: bool) -> Iterator[None]:
    """All or nothing; on the disk at its end where it is durable. Raises RejectedError(STORAGE)."""
    try:
        # NORMAL: a power cut may take the last diagnoses with it, never a verdict that was acknowledged.
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise RejectedError(Reason.STORAGE, f"the feedback cannot be written: {error}") from error
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def nearly_full(db: sqlite3.Connection) -> bool:
    """Whether old diagnoses have to go, so that there is room for verdicts."""
    free, used, most = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("freelist_count", "page_count", "max_page_count")
    )
    return bool(used - free > most * FULL)


def prune(db: sqlite3.Connection, limits: FeedbackLimits) -> None:
    """Forget the oldest diagnoses that nobody judged, half of them when nearly full."""
    keep = limits.keep_diagnoses
    if nearly_full(db):
        keep = min(keep, db.execute("SELECT count(*) FROM issued").fetchone()[0] // 2)
    judged = "SELECT 1 FROM feedback WHERE diagnosis_id = issued.diagnosis_id"
    oldest = "SELECT max(row) - ? FROM issued"
    db.execute(f"DELETE FROM issued WHERE row <= ({oldest}) AND NOT EXISTS ({judged})", (keep,))  # noqa: S608
