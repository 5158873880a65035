"""A journal's file as the first version of it was. Knows nothing of what is in it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def to_first_schema(path: Path) -> None:
    """What each later schema added is taken away."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("alarm", "burst"):
            connection.execute(f"DROP TABLE {table}")
        for index in ("report_head", "report_alarm", "report_burst"):
            connection.execute(f"DROP INDEX {index}")
        for column in ("set_aside", "alarm", "asked", "head", "count", "cancelled", "burst", "synchronised"):
            connection.execute(f"ALTER TABLE report DROP COLUMN {column}")
        connection.execute("ALTER TABLE call DROP COLUMN synchronised")
        for column in ("form", "received_s", "synchronised", "refused"):
            connection.execute(f"ALTER TABLE delivery DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
