"""What a named person does to the knowledge base: approve, remove, confirm. Each is one new version.

Knows nothing of file formats. The lock is held from reading to renaming, so that nobody's change is lost.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lineside.diagnosis.knowledge import drafts
from lineside.diagnosis.knowledge.drafts import Draft
from lineside.diagnosis.knowledge.entry import PLANT_SOURCE, Entry
from lineside.diagnosis.knowledge.store import Approval, Change, Ledger
from lineside.diagnosis.knowledge.writing import Content, locked, number_of, read_all, write_all
from lineside.errors import LinesideError

# The newest changes that the file remembers.
MAX_HISTORY = 1000
MAX_NAME = 128


class Changed(NamedTuple):
    """What a change left behind."""

    version: str
    total: int
    replaced: int


def now() -> str:
    """RFC 3339, in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def approve(store: Path, sources: Sequence[str], by: str, digest: str = "") -> Changed:
    """Let the drafts of `sources` in, each in place of what its source had. `digest`: only if it is that."""
    with locked(store):
        waiting = [_waiting(store, source) for source in dict.fromkeys(sources)]
        if digest and [draft.digest for draft in waiting] != [digest]:
            message = f"the draft of {waiting[0].source} is {waiting[0].digest} now, not {digest}"
            raise LinesideError("approve draft", message, "look at it again: lineside kb show --draft SOURCE")
        return put(store, waiting, by)


def put(store: Path, waiting: Sequence[Draft], by: str) -> Changed:
    """As `approve`, for drafts at hand; kept ones of their sources are obsolete. The caller has the lock."""
    person = named(by, "approve draft")
    content = read_all(store)
    sources = {draft.source for draft in waiting}
    kept = [entry for entry in content.entries if entry.source not in sources]
    entries = [*kept, *(entry for draft in waiting for entry in draft.entries)]
    at = now()
    approvals = {
        draft.source: Approval(
            source=draft.source, by=person, at=at, imported_at=draft.imported_at, files=draft.files
        )
        for draft in waiting
    }
    what = f"approved {', '.join(sorted(sources))}"
    version = _write(store, content, entries, content.ledger.approvals | approvals, (at, person, what))
    for source in sources:
        drafts.discard(store, source)
    return Changed(version, len(entries), len(content.entries) - len(kept))


def remove(store: Path, source: str, by: str) -> Changed:
    """Take a source's entries away."""
    person = named(by, "remove source")
    with locked(store):
        content = read_all(store)
        kept = [entry for entry in content.entries if entry.source != source]
        if len(kept) == len(content.entries):
            message = f"the knowledge base has no source `{source}`"
            raise LinesideError("remove source", message, "`lineside kb list` names them")
        approvals = {name: one for name, one in content.ledger.approvals.items() if name != source}
        version = _write(store, content, kept, approvals, (now(), person, f"removed {source}"))
    return Changed(version, len(kept), len(content.entries) - len(kept))


def confirm(store: Path, entry: Entry) -> Changed:
    """Let in what the plant has found out: an entry of PLANT_SOURCE with `confirmed` set, in place of the one
    with its id."""
    if entry.confirmed is None or entry.source != PLANT_SOURCE:
        raise ValueError(f"{entry.id} is no confirmed entry of `{PLANT_SOURCE}`")
    person = named(entry.confirmed.by, "confirm entry")
    with locked(store):
        content = read_all(store)
        kept = [one for one in content.entries if one.id != entry.id]
        change = (now(), person, f"confirmed {entry.id}")
        version = _write(store, content, [*kept, entry], content.ledger.approvals, change)
    return Changed(version, len(kept) + 1, len(content.entries) - len(kept))


def named(by: str, operation: str) -> str:
    """The person's name on one line; a LinesideError where there is none."""
    name = " ".join(by.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        message = f"a person's name is needed, of at most {MAX_NAME} signs"
        raise LinesideError(operation, message, "say who decides: --by NAME")
    return name


def _write(
    store: Path,
    content: Content,
    entries: Sequence[Entry],
    approvals: dict[str, Approval],
    change: tuple[str, str, str],
) -> str:
    at, by, what = change
    number = number_of(content.version) + 1
    latest = Change(number=number, at=at, by=by, what=what)
    history = (*content.ledger.history, latest)[-MAX_HISTORY:]
    return write_all(store, entries, content.version, Ledger(approvals, history))


def _waiting(store: Path, source: str) -> Draft:
    draft = drafts.load(store, source)
    if draft is None:
        message = f"no draft of `{source}` waits"
        raise LinesideError("approve draft", message, "`lineside kb list` names the drafts")
    return draft
