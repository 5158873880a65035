"""Whether a file from a backup is one that this version can use. Knows nothing of where it goes."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from lineside import journal_schema
from lineside.backup.parts import (
    CALIBRATION,
    CONFIGURATION,
    DEVICES,
    FEEDBACK,
    JOURNAL,
    KNOWLEDGE,
    POWER,
    Part,
    Place,
)
from lineside.config import load_config
from lineside.devices import file as devices
from lineside.diagnosis.knowledge.calibration_file import read_calibration
from lineside.diagnosis.knowledge.store import Snapshot
from lineside.errors import LinesideError
from lineside.feedback import file as feedback

OPERATION = "check backup"
_SCHEMAS = {JOURNAL: journal_schema.SCHEMA_VERSION, FEEDBACK: feedback.SCHEMA_VERSION}


def check_content(part: Part, path: Path, here: Place) -> None:
    """Raises LinesideError for a file that the daemon could not start with."""
    if part.name in _SCHEMAS:
        _check_database(part.name, path)
    elif part.name == KNOWLEDGE:
        _plain(part.name, path)
        Snapshot(path).close()
    elif part.name == DEVICES:
        devices.read(path)
    elif part.name == CALIBRATION:
        read_calibration(path)
    elif part.name == CONFIGURATION:
        _check_configuration(path, here)


def _check_database(name: str, path: Path) -> None:
    version = _plain(name, path)
    # The daemon brings older ones up to date.
    if not 1 <= version <= _SCHEMAS[name]:
        newer = "a newer" if version > _SCHEMAS[name] else "another"
        message = f"{name} has schema {version}, written by {newer} version; this one reads {_SCHEMAS[name]}"
        raise LinesideError(OPERATION, message, "restore with the version that saved it")


def _plain(name: str, path: Path) -> int:
    """Sound, and nothing in it that acts when it is read or written; its schema's number."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            acting = db.execute("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()
            if acting is not None:
                message = f"{name} has a trigger or view, {acting[0]!r}, which lineside never makes"
                raise LinesideError(OPERATION, message, "this is no backup of lineside's: do not use it")
            sound = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if sound != "ok":
                raise LinesideError(
                    OPERATION, f"{name} was damaged when it was saved: {sound}", "use an older one"
                )
            return int(db.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise LinesideError(OPERATION, f"{name} cannot be used: {error}", "use another backup") from error


def _check_configuration(path: Path, here: Place) -> None:
    """It is valid, and the daemon will look for its files where the restore puts them."""
    config = load_config(path)
    theirs = Place(config, here.config_path, here.root)
    for name in (JOURNAL, FEEDBACK, KNOWLEDGE, DEVICES, POWER, CALIBRATION):
        mine, other = here.part(name), theirs.part(name)
        assert mine is not None
        assert other is not None
        if mine.path != other.path:
            message = f"the backup's configuration keeps {name} as {other.path}, this one as {mine.path}"
            hint = "restore the data alone with --keep-configuration, or name the same paths here first"
            raise LinesideError(OPERATION, message, hint)
