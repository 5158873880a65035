"""Writes a knowledge base: a new file, in one transaction, renamed over the old. Knows no file formats."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from lineside.diagnosis.knowledge.codes import code_keys
from lineside.diagnosis.knowledge.entry import Entry
from lineside.diagnosis.knowledge.store import EMPTY_VERSION, SCHEMA_VERSION, Ledger, Snapshot
from lineside.diagnosis.knowledge.terms import title_terms
from lineside.errors import LinesideError
from lineside.whole_file import replacing

MAX_ENTRIES = 200_000

_Scope = tuple[str, str, str, str, str]

# The facet stands in code_key too, so that a code that every vendor has is narrowed before rows are read.
# ascii: terms.py has split and folded already; everything beyond ASCII is part of a term.
_SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE facet (id INTEGER PRIMARY KEY,
    source TEXT, vendor TEXT, model TEXT, unit TEXT, firmware TEXT, entries INTEGER);
CREATE TABLE entry (row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE, facet INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE code_key (key TEXT, facet INTEGER, rank INTEGER, entry INTEGER,
    PRIMARY KEY (key, facet, rank, entry)) WITHOUT ROWID;
CREATE VIRTUAL TABLE text USING fts5(title, body, scope, content='', tokenize='ascii');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(text, 'row');
CREATE TABLE term (term TEXT PRIMARY KEY, documents INTEGER) WITHOUT ROWID;
"""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One import at a time; a second one waits."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Content(NamedTuple):
    """All that a knowledge base holds."""

    entries: list[Entry]
    version: str
    ledger: Ledger


def read_all(path: Path) -> Content:
    """What the file at `path` holds; nothing and EMPTY_VERSION where there is none."""
    if not path.exists():
        return Content([], EMPTY_VERSION, Ledger())
    snapshot = Snapshot(path)
    try:
        return Content(list(snapshot.all()), snapshot.version, snapshot.ledger)
    finally:
        snapshot.close()


def number_of(version: str) -> int:
    """How many changes have made it."""
    return int(version.partition("-")[0])


def write_all(
    path: Path, entries: Sequence[Entry], after: str = EMPTY_VERSION, ledger: Ledger | None = None
) -> str:
    """Put `entries` in place of the file, which is whole at every instant. Returns the new version."""
    if len(entries) > MAX_ENTRIES:
        message = f"{len(entries)} entries, at most {MAX_ENTRIES} are kept"
        raise LinesideError("write knowledge base", message, "import fewer manuals")
    ordered = sorted(entries, key=lambda entry: entry.id)
    version = f"{number_of(after) + 1}-{_digest(ordered)}"
    try:
        with replacing(path) as temporary:
            _fill(temporary, ordered, version, ledger or Ledger())
    except (OSError, sqlite3.OperationalError) as error:
        raise _cannot_write(path, error) from error
    return version


def _fill(path: Path, entries: Sequence[Entry], version: str, ledger: Ledger) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        # Until the rename nobody sees the file: a crash leaves a temporary file and no journal to replay.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.executescript(_SCHEMA)
        db.execute("BEGIN")
        facets = _facets(entries)
        counts = dict.fromkeys(facets, 0)
        for row, entry in enumerate(entries, 1):
            scope = _scope(entry)
            counts[scope] += 1
            _insert(db, row, entry, facets[scope])
        db.executemany(
            "INSERT INTO facet VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(number, *scope, counts[scope]) for scope, number in facets.items()],
        )
        facts = {"schema_version": str(SCHEMA_VERSION), "version": version}
        facts["ledger"] = msgspec.json.encode(ledger).decode()
        db.executemany("INSERT INTO fact VALUES (?, ?)", facts.items())
        db.execute("INSERT INTO text(text) VALUES ('optimize')")
        # fts5vocab counts a term by walking all its places, once for each query; here it is looked up.
        db.execute("INSERT INTO term SELECT term, doc FROM vocabulary")
        db.execute("COMMIT")


def _insert(db: sqlite3.Connection, row: int, entry: Entry, facet: int) -> None:
    db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (row, entry.id, facet, msgspec.json.encode(entry)))
    keys = [(key, facet, rank, row) for key, rank in code_keys(entry.code)]
    db.executemany("INSERT OR IGNORE INTO code_key VALUES (?, ?, ?, ?)", keys)
    titles = _terms(text.title for text in entry.texts)
    bodies = _terms(part for text in entry.texts for part in (text.meaning, *text.causes))
    db.execute(
        "INSERT INTO text(rowid, title, body, scope) VALUES (?, ?, ?, ?)", (row, titles, bodies, f"f{facet}")
    )


def _terms(texts: Iterable[str]) -> str:
    return " ".join(term for text in texts for term in title_terms(text))


def _scope(entry: Entry) -> _Scope:
    return entry.source, entry.vendor, entry.model, entry.unit, entry.firmware


def _facets(entries: Iterable[Entry]) -> dict[_Scope, int]:
    return {scope: number for number, scope in enumerate(dict.fromkeys(map(_scope, entries)), 1)}


def _digest(entries: Iterable[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(msgspec.json.encode(entry))
    return digest.hexdigest()[:8]


def _cannot_write(path: Path, error: Exception) -> LinesideError:
    hint = f"import as a user who may write to {path.parent}, with free space there, or set knowledge.path"
    return LinesideError("write knowledge base", f"{path}: {error}", hint)
