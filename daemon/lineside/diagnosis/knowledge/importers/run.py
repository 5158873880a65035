"""One import: read and check every file, then keep their entries as drafts, one for each source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from lineside.diagnosis.knowledge import curation, drafts
from lineside.diagnosis.knowledge.codes import EXACT, code_keys
from lineside.diagnosis.knowledge.entry import PLANT_SOURCE, Entry, Language
from lineside.diagnosis.knowledge.importers.files import FileContent, HowToRead, read_file
from lineside.diagnosis.knowledge.importers.problems import Problem, failure
from lineside.diagnosis.knowledge.importers.records import Raw, entry_of
from lineside.diagnosis.knowledge.importers.tables import Corrections, Mapping
from lineside.diagnosis.knowledge.writing import locked, read_all

MAX_COLLISIONS_SHOWN = 20
MAX_VARIANT = 128


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a file does not say itself; its own fields win. `source` empty: the file's name without ending.

    `leave_out_duplicates`: keys that stand twice are left out and reported, instead of refusing the file.
    `encoding` of text files, `corrections` to what a heading was taken for, where the guess is wrong.
    `approve_by`: the person who has read the files already, so that no draft has to wait.
    """

    source: str = ""
    manual: str = ""
    vendor: str = ""
    model: str = ""
    unit: str = ""
    firmware: str = ""
    language: Language | None = None
    approve_by: str = ""
    leave_out_duplicates: bool = False
    encoding: str = ""
    corrections: Corrections = ()


class Collision(NamedTuple):
    """A code that several entries have; reports of it need a vendor, model, unit or text."""

    code: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did. `collisions` holds the first few of `colliding_codes`.

    `version`, `total` and `replaced` are those of the knowledge base: with the new entries where they were
    approved, else as it stays while they are a draft.
    """

    approved: bool
    version: str
    total: int
    imported: int
    replaced: int
    sources: tuple[str, ...]
    without_cause: int
    without_action: int
    without_severity: int
    mappings: tuple[Mapping, ...]
    notes: tuple[str, ...]
    ignored_fields: tuple[str, ...]
    repeated: int
    duplicates: tuple[str, ...]
    colliding_codes: int
    collisions: tuple[Collision, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    entries: list[Entry]
    files: list[FileContent]
    duplicates: tuple[str, ...]
    repeated: int


def import_files(store: Path, files: Sequence[Path], options: ImportOptions | None = None) -> ImportResult:
    """Read `files` into drafts of the knowledge base at `store`. A LinesideError leaves all as it was."""
    options = options or ImportOptions()
    if options.approve_by:
        curation.named(options.approve_by, "approve draft")
    read = _read_files(files, options)
    waiting = _drafts_of(read.entries, files)
    sources = {draft.source for draft in waiting}
    with locked(store):
        present = read_all(store)
        others = [entry for entry in present.entries if entry.source not in sources]
        if options.approve_by:
            changed = curation.put(store, waiting, options.approve_by)
        else:
            changed = curation.Changed(present.version, len(present.entries), 0)
            for draft in waiting:
                drafts.save(store, draft)
    imported = {entry.id for entry in read.entries}
    collisions = [one for one in _collisions(others + read.entries) if not imported.isdisjoint(one.entries)]
    return ImportResult(
        approved=bool(options.approve_by),
        version=changed.version,
        total=changed.total,
        imported=len(read.entries),
        replaced=changed.replaced,
        sources=tuple(sorted(sources)),
        without_cause=sum(not any(text.causes for text in entry.texts) for entry in read.entries),
        without_action=sum(not any(text.actions for text in entry.texts) for entry in read.entries),
        without_severity=sum(entry.severity is None for entry in read.entries),
        mappings=tuple(mapping for file in read.files for mapping in file.mappings),
        notes=tuple(note for file in read.files for note in file.notes),
        ignored_fields=tuple(dict.fromkeys(name for file in read.files for name in file.ignored)),
        repeated=read.repeated,
        duplicates=read.duplicates,
        colliding_codes=len(collisions),
        collisions=tuple(collisions[:MAX_COLLISIONS_SHOWN]),
    )


def _drafts_of(entries: Sequence[Entry], files: Sequence[Path]) -> list[drafts.Draft]:
    by_source: dict[str, list[Entry]] = {}
    for entry in entries:
        by_source.setdefault(entry.source, []).append(entry)
    at, names = curation.now(), tuple(path.name for path in files)
    return [
        drafts.Draft(source=source, imported_at=at, files=names, entries=tuple(found))
        for source, found in by_source.items()
    ]


def _read_files(files: Sequence[Path], options: ImportOptions) -> _Read:
    problems: list[Problem] = []
    placed: list[tuple[str, Entry]] = []
    contents = []
    how = HowToRead(options.language, options.encoding, options.corrections)
    for path in files:
        if PLANT_SOURCE in (options.source, path.stem if not options.source else ""):
            message = f"`{PLANT_SOURCE}` is kept for the plant's own entries"
            problems.append(Problem(path.name, "source", message, "name another one: --source NAME"))
            continue
        content = read_file(path, how, problems)
        contents.append(content)
        entries = (
            (raw.where, entry_of(_with_defaults(raw, path, options), problems)) for raw in content.raws
        )
        placed.extend((where, entry) for where, entry in entries if entry is not None)
    placed, repeated = _unrepeated(_parted(placed))
    duplicates = _duplicates(placed, problems, refuse=not options.leave_out_duplicates)
    if problems:
        raise failure(problems)
    kept = [entry for _, entry in placed if entry.id not in duplicates]
    if not kept:
        named = ", ".join(path.name for path in files) or "no file"
        notes = "; ".join(note for content in contents for note in content.notes)
        raise failure([Problem(named, "", f"holds no entry{'; ' if notes else ''}{notes}")])
    return _Read(kept, contents, duplicates, repeated)


def _unrepeated(placed: Sequence[tuple[str, Entry]]) -> tuple[list[tuple[str, Entry]], int]:
    """What stands twice word for word is one entry."""
    seen: dict[str, Entry] = {}
    kept = [
        (where, entry)
        for where, entry in placed
        if seen.setdefault(entry.id, entry) is entry or seen[entry.id] != entry
    ]
    return kept, len(placed) - len(kept)


def _parted(placed: Sequence[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """One code for several models or firmware ranges is several entries, each with its variant."""
    scopes: dict[str, set[tuple[str, str, str]]] = {}
    for _, entry in placed:
        scopes.setdefault(entry.id, set()).add((entry.vendor, entry.model, entry.firmware))
    return [
        (
            where,
            replace(entry, variant=_variant(entry, scopes[entry.id])) if len(scopes[entry.id]) > 1 else entry,
        )
        for where, entry in placed
    ]


def _variant(entry: Entry, scopes: set[tuple[str, str, str]]) -> str:
    own = (entry.vendor, entry.model, entry.firmware)
    telling = [
        value for value, values in zip(own, zip(*scopes, strict=True), strict=True) if len(set(values)) > 1
    ]
    return " ".join(value for value in telling if value)[:MAX_VARIANT]


def _with_defaults(raw: Raw, path: Path, options: ImportOptions) -> Raw:
    names = ("manual", "vendor", "model", "unit", "firmware")
    fields = {**raw.fields, "source": raw.fields.get("source") or options.source or path.stem}
    fields |= {name: getattr(options, name) for name in names if not raw.fields.get(name)}
    return dataclasses.replace(raw, fields=fields)


def _duplicates(
    placed: Sequence[tuple[str, Entry]], problems: list[Problem], *, refuse: bool
) -> tuple[str, ...]:
    """Keys that stand twice: no reader can tell which of the two is right."""
    first: dict[str, str] = {}
    twice: dict[str, None] = {}
    for where, entry in placed:
        if entry.id not in first:
            first[entry.id] = where
            continue
        twice[entry.id] = None
        if refuse:
            message = f"{entry.id} stands at {first[entry.id]} already"
            hint = "correct the file, or leave such entries out with --leave-out-duplicates"
            problems.append(Problem(where, "code", message, hint))
    return tuple(twice)


def _collisions(entries: Iterable[Entry]) -> list[Collision]:
    ids: dict[str, list[str]] = {}
    for entry in entries:
        for key, rank in code_keys(entry.code):
            if rank == EXACT:
                ids.setdefault(key, []).append(entry.id)
    return [Collision(key, tuple(sorted(found))) for key, found in sorted(ids.items()) if len(found) > 1]
