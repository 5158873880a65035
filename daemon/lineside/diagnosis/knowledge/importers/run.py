"""One import: read and check every file, then keep their entries as drafts, one for each source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lineside.diagnosis.knowledge import curation, drafts
from lineside.diagnosis.knowledge.codes import EXACT, code_keys
from lineside.diagnosis.knowledge.entry import Entry, Language
from lineside.diagnosis.knowledge.importers.documents import jsonl_raws, yaml_raws
from lineside.diagnosis.knowledge.importers.problems import Problem, failure
from lineside.diagnosis.knowledge.importers.records import Raw, entry_of
from lineside.diagnosis.knowledge.importers.tables import csv_tables, markdown_tables, raws_of
from lineside.diagnosis.knowledge.writing import locked, read_all

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILE_ENTRIES = 100_000
MAX_COLLISIONS_SHOWN = 20

_TABLES = {".csv": csv_tables, ".tsv": csv_tables, ".md": markdown_tables, ".markdown": markdown_tables}
_DOCUMENTS = {".jsonl": jsonl_raws, ".ndjson": jsonl_raws, ".yaml": yaml_raws, ".yml": yaml_raws}


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a file does not say itself; its own fields win. `source` empty: the file's name without ending.

    `leave_out_duplicates`: keys that stand twice are left out and reported, instead of refusing the file.
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
    ignored_fields: tuple[str, ...]
    duplicates: tuple[str, ...]
    colliding_codes: int
    collisions: tuple[Collision, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    entries: list[Entry]
    ignored: list[str]
    duplicates: tuple[str, ...]


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
    collisions = _collisions(others + read.entries)
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
        ignored_fields=tuple(read.ignored),
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
    ignored: dict[str, None] = {}
    for path in files:
        raws, unknown = _raws_of_file(path, options, problems)
        ignored.update(dict.fromkeys(unknown))
        entries = ((raw.where, entry_of(_with_defaults(raw, path, options), problems)) for raw in raws)
        placed.extend((where, entry) for where, entry in entries if entry is not None)
    duplicates = _duplicates(placed, problems, refuse=not options.leave_out_duplicates)
    if problems:
        raise failure(problems)
    kept = [entry for _, entry in placed if entry.id not in duplicates]
    if not kept:
        named = ", ".join(path.name for path in files) or "no file"
        raise failure([Problem(named, "", "holds no entry")])
    return _Read(kept, list(ignored), duplicates)


def _raws_of_file(path: Path, options: ImportOptions, problems: list[Problem]) -> tuple[list[Raw], list[str]]:
    suffix = path.suffix.lower()
    if suffix not in _TABLES and suffix not in _DOCUMENTS:
        known = " ".join(sorted((*_TABLES, *_DOCUMENTS)))
        problems.append(Problem(path.name, "", f"the ending is not one of {known}"))
        return [], []
    text = _text_of(path, problems)
    if text is None:
        return [], []
    raws: list[Raw] = []
    ignored: list[str] = []
    if reader := _DOCUMENTS.get(suffix):
        raws, ignored = reader(text, path.name, problems)
    else:
        for table in _TABLES[suffix](text, path.name, problems):
            more, unknown = raws_of(table, path.name, options.language, problems)
            raws, ignored = raws + more, ignored + unknown
    if len(raws) > MAX_FILE_ENTRIES:
        problems.append(Problem(path.name, "", f"{len(raws)} entries, at most {MAX_FILE_ENTRIES} are taken"))
        return [], []
    return raws, ignored


def _text_of(path: Path, problems: list[Problem]) -> str | None:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            problems.append(Problem(path.name, "", f"{size} bytes, at most {MAX_FILE_BYTES} are taken"))
            return None
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        message = (
            f"byte {error.start} is not UTF-8; convert the file, for example with `iconv -f GB18030 -t UTF-8`"
        )
        problems.append(Problem(f"{path.name}:{line}", "", message))
    except OSError as error:
        hint = "name an existing file that can be read"
        problems.append(Problem(str(path), "", error.strerror or str(error), hint))
    return None


def _with_defaults(raw: Raw, path: Path, options: ImportOptions) -> Raw:
    names = ("manual", "vendor", "model", "unit", "firmware")
    fields = {**raw.fields, "source": raw.fields.get("source") or options.source or path.stem}
    fields |= {name: getattr(options, name) for name in names if not raw.fields.get(name)}
    return replace(raw, fields=fields)


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
