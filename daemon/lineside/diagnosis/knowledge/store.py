"""The knowledge base as one SQLite file: read here by the daemon. Knows nothing of scores or of file formats.

An import writes a whole new file and renames it over the old one (see writing.py), so a reader needs no lock,
no write permission and no restart: it opens the new file at the next query.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lineside.diagnosis.knowledge.codes import CodeKey
from lineside.diagnosis.knowledge.entry import Entry
from lineside.errors import LinesideError
from lineside.plain_files import open_plain

if TYPE_CHECKING:
    from lineside.diagnosis.knowledge.candidates import Rows
    from lineside.diagnosis.knowledge.spelling import Spelling

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
EMPTY_VERSION = "0"
# A code that means more than this many things is resolved by nobody; the bound keeps a query short.
MAX_ROWS = 512

_decode = msgspec.json.Decoder(Entry).decode
_File = tuple[int, int, int]


class Found(NamedTuple):
    """An entry by its row, and what the lookup says: the rank of a code, the bm25 score of a text."""

    row: int
    facet: int
    weight: float
    entry: Entry


class Facet(NamedTuple):
    """Entries with the same source, vendor, model, unit and firmware share one; scopes choose among these."""

    id: int
    source: str
    vendor: str
    model: str
    unit: str
    firmware: str
    entries: int


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Who let a source's entries in, when, and of which files they came."""

    source: str
    by: str
    at: str
    imported_at: str = ""
    files: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What made the version of that number."""

    number: int
    at: str
    by: str
    what: str


class Ledger(msgspec.Struct, frozen=True):
    """The approvals in force, by source, and the newest changes, oldest first."""

    approvals: dict[str, Approval] = {}
    history: tuple[Change, ...] = ()


class Snapshot:
    """One opened file, unchanging. Use it through Store.snapshot()."""

    def __init__(self, path: Path) -> None:
        # immutable: SQLite then takes no lock and makes no file beside it; the file is never written again.
        # ro: where there is none, it would else leave an empty one.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            open_plain(path).close()
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except OSError as error:
            raise _unusable(path, str(error.strerror)) from error
        except sqlite3.Error as error:
            raise _unusable(path, str(error)) from error
        try:
            facts = dict(self._db.execute("SELECT name, value FROM fact"))
            if facts.get("schema_version") != str(SCHEMA_VERSION):
                raise _unusable(path, f"schema version {facts.get('schema_version')}, not {SCHEMA_VERSION}")
            self.version = facts["version"]
            self.ledger = msgspec.json.decode(facts["ledger"], type=Ledger)
            self.facets = tuple(Facet(*row) for row in self._db.execute("SELECT * FROM facet ORDER BY id"))
        except (sqlite3.DatabaseError, KeyError, msgspec.MsgspecError) as error:
            self.close()
            raise _unusable(path, str(error)) from error
        except LinesideError:
            self.close()
            raise
        self.entries = sum(facet.entries for facet in self.facets)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def all(self) -> Iterator[Entry]:
        """Every entry, in the order of ids."""
        for (body,) in self._db.execute("SELECT body FROM entry ORDER BY id"):
            yield _decode(body)

    def rows(self) -> Iterator[tuple[int, int, Entry]]:
        """Every entry with its row and facet."""
        for row, facet, body in self._db.execute("SELECT row, facet, body FROM entry ORDER BY row"):
            yield row, facet, _decode(body)

    def by_rows(self, rows: Sequence[int]) -> list[Found]:
        """The entries of these rows, in their order."""
        return self._fetch([(row, 0.0) for row in rows])

    def by_code(self, keys: Sequence[CodeKey], facets: Sequence[int]) -> list[Found]:
        """Entries that share a reading with `keys`, nearest reading first; an entry once."""
        best: dict[int, int] = {}
        for key, rank in keys:
            query = f"SELECT entry, rank FROM code_key WHERE key = ? AND facet IN ({_marks(facets)}) LIMIT ?"  # noqa: S608 question marks only
            for row, other in self._db.execute(query, (key, *facets, MAX_ROWS)):
                best[row] = min(best.get(row, 9), rank + other)
        return self._fetch(sorted(best.items(), key=lambda found: (found[1], found[0])))

    def document_counts(self, terms: Sequence[str]) -> dict[str, int]:
        """How many entries hold each term; absent: none."""
        counts: dict[str, int] = {}
        for term in terms:
            row = self._db.execute("SELECT documents FROM term WHERE term = ?", (term,)).fetchone()
            if row is not None:
                counts[term] = row[0]
        return counts

    @functools.cached_property
    def spelling(self) -> Spelling:
        """Its words, to read others as them. Made at the first use."""
        # Numpy takes a tenth of a second, which a command that searches nothing need not wait for.
        from lineside.diagnosis.knowledge.spelling import Spelling  # noqa: PLC0415

        query = "SELECT term, documents FROM term WHERE term GLOB '[a-z]*'"
        return Spelling({term: count for term, count in self._db.execute(query) if term.isalpha()})

    def by_terms(
        self, known: Sequence[tuple[int, str]], facets: Sequence[int] | None, limit: int
    ) -> list[Found]:
        """Entries that hold the most telling of the terms, best first; in all facets where none are named.

        `known`: terms, rarest first, each with the number of entries that hold it.
        """
        from lineside.diagnosis.knowledge.candidates import best_rows  # noqa: PLC0415 numpy, as above

        scope = "" if facets is None else f"scope : ({' OR '.join(f'f{facet}' for facet in facets)}) AND "

        def holding(term: str, part: str, also: Sequence[str] = ()) -> Rows:
            match = f"{scope}({{{part}}} : {_quoted(term)})"
            if also:
                match += f" AND ({{title body}} : ({' OR '.join(map(_quoted, also))}))"
            return self._rows(match)

        return self._fetch(best_rows(holding, known, self.entries, limit))

    def _rows(self, match: str) -> Rows:
        """One text with all of them comes sooner than a row for each."""
        import numpy as np  # noqa: PLC0415 as above

        query = "SELECT group_concat(rowid) FROM text WHERE text MATCH ?"
        (rows,) = self._db.execute(query, (match,)).fetchone()
        return np.fromstring(rows or "", np.int64, sep=",")

    def _fetch(self, rows: Sequence[tuple[int, float]]) -> list[Found]:
        query = f"SELECT row, facet, body FROM entry WHERE row IN ({_marks(rows)})"  # noqa: S608 question marks only
        kept = {row: (facet, body) for row, facet, body in self._db.execute(query, [row for row, _ in rows])}
        found = []
        for row, weight in rows:
            facet, body = kept[row]
            found.append(Found(row, facet, weight, _decode(body)))
        return found


class Store:
    """The file as it is now. Thread-safe; a missing file is an empty knowledge base that may still appear."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: _File | None = None
        self._snapshot: Snapshot | None = None
        with self._lock:
            self._refresh(first=True)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot | None]:
        """The newest content, for one query; None while there is none."""
        with self._lock:
            self._refresh()
            yield self._snapshot

    @property
    def version(self) -> str:
        """Counter of imports and a digest of the content."""
        with self.snapshot() as snapshot:
            return EMPTY_VERSION if snapshot is None else snapshot.version

    @property
    def entries(self) -> int:
        """How many entries there are."""
        with self.snapshot() as snapshot:
            return 0 if snapshot is None else snapshot.entries

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._snapshot is not None:
                self._snapshot.close()
            self._snapshot = self._file = None

    def _refresh(self, *, first: bool = False) -> None:
        """Open the file if it is another one than last time. What served before goes on if it is unusable."""
        current = _identity(self.path)
        if current is None or current == self._file:
            return
        try:
            newer = Snapshot(self.path)
        except LinesideError as error:
            if first:
                raise
            log.error("the knowledge base stays at its last good content: %s", error)  # noqa: TRY400
        else:
            if self._snapshot is not None:
                self._snapshot.close()
            self._snapshot = newer
        self._file = current


def _identity(path: Path) -> _File | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        hint = "let the daemon's user read the file, or set knowledge.path"
        raise LinesideError("open knowledge base", f"{path}: {error.strerror}", hint) from error
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _unusable(path: Path, why: str) -> LinesideError:
    hint = "move the file away and import and approve the manuals again: `lineside kb import FILE...`"
    return LinesideError("open knowledge base", f"{path} cannot be used: {why}", hint)


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _quoted(term: str) -> str:
    return '"' + term.replace('"', "") + '"'
