"""The journal's tables, and how older ones become them. Knows nothing of files and of what is stored."""

from __future__ import annotations

import sqlite3

SCHEMA_VERSION = 3

_SCHEMA = """
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
    answer BLOB,
    set_aside INTEGER NOT NULL DEFAULT 0
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
"""
# From the version to the next. Stored generations of version 2 did not tell thought from answer.
_STEPS = {
    1: "ALTER TABLE delivery ADD COLUMN form TEXT NOT NULL DEFAULT 'full';",
    2: """ALTER TABLE report ADD COLUMN set_aside INTEGER NOT NULL DEFAULT 0;
        DELETE FROM call WHERE key LIKE 'generate:%';""",
}


def version_of(connection: sqlite3.Connection) -> int:
    """The file's schema; 0: it is new."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or bring those of an older `version` up to date: wholly, or not at all."""
    steps = "".join(_STEPS[step] for step in range(version, SCHEMA_VERSION)) if version else _SCHEMA
    connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
