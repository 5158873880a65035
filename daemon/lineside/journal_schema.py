"""The journal's tables, and how older ones become them. Knows nothing of files and of what is stored."""

from __future__ import annotations

import sqlite3

SCHEMA_VERSION = 8

_ALARMS = """
CREATE INDEX report_head ON report (head) WHERE head IS NOT NULL;
CREATE INDEX report_alarm ON report (device, alarm) WHERE answer IS NULL;
CREATE TABLE alarm (
    device TEXT NOT NULL,
    alarm TEXT NOT NULL,
    locale TEXT NOT NULL,
    report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    count INTEGER NOT NULL,
    seen_boot_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    PRIMARY KEY (device, alarm, locale)
) STRICT;
CREATE INDEX alarm_report ON alarm (report);
"""
_BURSTS = """
CREATE INDEX report_burst ON report (burst) WHERE burst IS NOT NULL;
CREATE TABLE burst (
    line TEXT PRIMARY KEY,
    report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    urgency INTEGER NOT NULL,
    began_boot_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL
) STRICT;
CREATE INDEX burst_report ON burst (report);
"""

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
    answer BLOB,
    set_aside INTEGER NOT NULL DEFAULT 0,
    alarm TEXT NOT NULL DEFAULT '',
    asked TEXT NOT NULL DEFAULT '',
    head INTEGER,
    count INTEGER NOT NULL DEFAULT 1,
    cancelled INTEGER NOT NULL DEFAULT 0,
    burst INTEGER,
    synchronised INTEGER NOT NULL DEFAULT 1
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
    form TEXT NOT NULL DEFAULT 'full',
    received_s REAL NOT NULL DEFAULT 0,
    synchronised INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX delivery_report ON delivery (report);
CREATE INDEX delivery_open ON delivery (id) WHERE published = 0;
CREATE TABLE call (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    received_s REAL NOT NULL,
    answer BLOB NOT NULL,
    synchronised INTEGER NOT NULL DEFAULT 1
) STRICT;
{_ALARMS}{_BURSTS}"""
# From the version to the next. Stored generations of version 2 did not tell thought from answer.
_STEPS = {
    1: "ALTER TABLE delivery ADD COLUMN form TEXT NOT NULL DEFAULT 'full';",
    2: """ALTER TABLE report ADD COLUMN set_aside INTEGER NOT NULL DEFAULT 0;
        DELETE FROM call WHERE key LIKE 'generate:%';""",
    3: f"""ALTER TABLE report ADD COLUMN alarm TEXT NOT NULL DEFAULT '';
        ALTER TABLE report ADD COLUMN asked TEXT NOT NULL DEFAULT '';
        ALTER TABLE report ADD COLUMN head INTEGER;
        ALTER TABLE report ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE report ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
        {_ALARMS}""",
    4: f"ALTER TABLE report ADD COLUMN burst INTEGER; {_BURSTS}",
    5: """ALTER TABLE report ADD COLUMN synchronised INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE call ADD COLUMN synchronised INTEGER NOT NULL DEFAULT 1;""",
    6: """ALTER TABLE delivery ADD COLUMN received_s REAL NOT NULL DEFAULT 0;
        ALTER TABLE delivery ADD COLUMN synchronised INTEGER NOT NULL DEFAULT 0;""",
    7: "ALTER TABLE delivery ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;",
}


def version_of(connection: sqlite3.Connection) -> int:
    """The file's schema; 0: it is new."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or bring those of an older `version` up to date: wholly, or not at all."""
    steps = "".join(_STEPS[step] for step in range(version, SCHEMA_VERSION)) if version else _SCHEMA
    connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
