"""The knowledge base and the journal as files: there, whole, readable. Opens them for reading only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lineside.diagnosis.knowledge.store import Snapshot
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.errors import LinesideError


def look_at_knowledge(machine: Machine) -> Iterator[Finding]:
    """Its version, entries and integrity."""
    name, path = "knowledge.base", machine.config.knowledge_path
    if not path.exists():
        todo = "import manuals: lineside kb import FILE... --approve-by NAME"
        yield finding(name, "warning", f"there is none at {path}: nothing can be diagnosed", todo)
        return
    again = "import the manuals again, or put a backup in its place"
    try:
        snapshot = Snapshot(path)
    except LinesideError as error:
        yield finding(name, "problem", error.message, error.hint or again)
        return
    version, entries = snapshot.version, snapshot.entries
    snapshot.close()
    if damage := _damage(path):
        yield finding(name, "problem", f"{path}: {damage}", again)
    elif not entries:
        yield finding(
            name, "warning", f"{path} has no entry", "approve what was imported: lineside kb approve"
        )
    else:
        seen = f"version {version}, {entries} entries"
        yield finding(name, "ok", seen, knowledge_version=version, knowledge_entries=entries)


def look_at_journal(machine: Machine) -> Iterator[Finding]:
    """Opened where no daemon has it: one that does checked it at its start, and only it may touch the log."""
    name, path = "journal.file", machine.config.journal_path
    if not path.exists():
        yield finding(name, "not_applicable", "there is none yet: the daemon makes it")
    elif path.with_name(f"{path.name}-wal").exists():
        seen = f"{path} is in use, or was when its daemon was killed: each start checks it"
        yield finding(name, "ok", seen)
    elif damage := _damage(path):
        todo = "move the file away (keep it: unanswered reports are in it) and start the daemon"
        yield finding(name, "problem", f"{path}: {damage}", todo)
    else:
        yield finding(name, "ok", f"{path} is whole")


def _damage(path: Path) -> str:
    """What SQLite says is wrong; empty where nothing is. Raises OSError where the file cannot be read.

    immutable: no lock is taken and no file is made beside it.
    """
    if not path.is_file():
        return "it is no plain file"
    with path.open("rb"):
        pass
    uri = f"{path.absolute().as_uri()}?immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True)
        try:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return "" if found == "ok" else found
