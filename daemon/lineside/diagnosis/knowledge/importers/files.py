"""One file to its raw entries, by its ending. Knows nothing of the knowledge base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.importers import confined
from lineside.diagnosis.knowledge.importers.documents import json_raws, jsonl_raws, yaml_raws
from lineside.diagnosis.knowledge.importers.encoding import EncodingError, text_of
from lineside.diagnosis.knowledge.importers.extra import UnreadableError
from lineside.diagnosis.knowledge.importers.grids import Gathered, Grid, tables_in
from lineside.diagnosis.knowledge.importers.problems import Problem
from lineside.diagnosis.knowledge.importers.records import Raw
from lineside.diagnosis.knowledge.importers.running import markdown_lines, running_raws
from lineside.diagnosis.knowledge.importers.tables import (
    MAX_LEVELS_SHOWN,
    Corrections,
    Mapping,
    Table,
    csv_tables,
    markdown_grids,
    raws_of,
    same_heading,
)
from lineside.plain_files import read_plain

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILE_ENTRIES = 100_000
MAX_HEADINGS_SHOWN = 12
MAX_PLACES_SHOWN = 10

_DOCUMENTS = {
    ".json": json_raws,
    ".jsonl": jsonl_raws,
    ".ndjson": jsonl_raws,
    ".yaml": yaml_raws,
    ".yml": yaml_raws,
}
_DELIMITED = (".csv", ".tsv", ".txt")
_MARKDOWN, _HTML = (".md", ".markdown"), (".html", ".htm")
ENDINGS = tuple(sorted((*_DOCUMENTS, *_DELIMITED, *_MARKDOWN, *confined.ENDINGS)))


@dataclass(frozen=True, slots=True)
class HowToRead:
    """What a person knows better than a guess."""

    language: Language | None = None
    encoding: str = ""
    corrections: Corrections = ()


@dataclass(slots=True)
class FileContent:
    """What a file holds, what its columns were taken for, and what else there is to say about it."""

    raws: list[Raw] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_file(path: Path, how: HowToRead, problems: list[Problem]) -> FileContent:
    """Every entry of the file; what is wrong with it is added to `problems`."""
    content = FileContent()
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        problems.append(Problem(path.name, "", f"the ending is not one of {' '.join(ENDINGS)}"))
        return content
    data = _bytes_of(path, problems)
    if data is None:
        return content
    try:
        _Reading(path.name, how, content, problems).read(data, ending)
    except UnreadableError as error:
        problems.append(Problem(path.name, "", str(error), error.hint))
    except EncodingError as error:
        problems.append(Problem(path.name, "", str(error)))
    if len(content.raws) > MAX_FILE_ENTRIES:
        message = f"{len(content.raws)} entries, at most {MAX_FILE_ENTRIES} are taken"
        problems.append(Problem(path.name, "", message))
        content.raws = []
    return content


class _Reading:
    """One file on its way from bytes to raw entries."""

    def __init__(self, name: str, how: HowToRead, content: FileContent, problems: list[Problem]) -> None:
        self._name = name
        self._how = how
        self._content = content
        self._problems = problems

    def read(self, data: bytes, ending: str) -> None:
        """By the file's ending."""
        if ending in confined.ENDINGS and ending not in _HTML:
            self._add_gathered(confined.read_confined(data, ending))
            return
        text, encoding = text_of(data, self._how.encoding)
        if not encoding.startswith("utf-8"):
            self._content.notes.append(f"{self._name}: read as {encoding}; --encoding names another")
        if document := _DOCUMENTS.get(ending):
            self._content.raws, self._content.ignored = document(text, self._name, self._problems)
        elif ending in _DELIMITED:
            self._add_tables(csv_tables(text, self._name, self._problems, self._how.corrections))
        elif ending in _MARKDOWN:
            self._add_gathered(_markdown_parts(text))
        else:
            self._add_gathered(confined.read_confined(text.encode(), ending))

    def _add_gathered(self, gathered: Gathered) -> None:
        """Tables of fault codes, and running text; a file with neither says what it has."""
        self._content.notes.extend(f"{self._name}: {note}" for note in gathered.notes)
        tables, others = tables_in(gathered.grids, self._how.corrections)
        self._add_tables(tables)
        found = running_raws(gathered.lines)
        if found:
            note = f"{self._name}: {len(found)} entries of running text; look at them before approving"
            self._content.notes.append(note)
            self._content.raws.extend(replace(raw, where=f"{self._name}:{raw.where}") for raw in found)
        if tables or found:
            self._content.notes.extend(f"{self._name}: {note}" for note in _left_out(others))
            return
        message = "has no table with columns for code and title, and no running text of codes"
        hint = "name the columns: --map code=HEADING --map title=HEADING"
        parts = [message, *_first_headings(gathered.grids), *gathered.notes]
        self._problems.append(Problem(self._name, "", "; ".join(parts), hint))

    def _add_tables(self, tables: list[Table]) -> None:
        content, how = self._content, self._how
        for table in tables:
            raws, mapping = raws_of(table, self._name, how.language, how.corrections, self._problems)
            content.raws.extend(raws)
            content.mappings.append(mapping)
            content.ignored.extend(mapping.ignored)
            content.notes.extend(_unknown_levels(mapping))
        shown = {same_heading(heading) for mapping in content.mappings for heading, _ in mapping.columns}
        for column, heading in how.corrections if tables else ():
            if same_heading(heading) not in shown:
                message = f"no column `{heading}` in: {_headings(tables[0].heading.cells)}"
                hint = "name a heading as it stands there"
                self._problems.append(Problem(self._name, f"--map {column.field}", message, hint))


def _markdown_parts(text: str) -> Gathered:
    grids = []
    for table in markdown_grids(text):
        rows = [table.heading.cells, *(row.cells for row in table.rows)]
        # The line of dashes is no row; rows count from below it.
        grids.append(Grid("", rows, first_line=table.heading.line + 1))
    return Gathered(grids, list(markdown_lines(text)))


def _left_out(others: Sequence[Grid]) -> list[str]:
    """A manual has tables of much else; what was taken for such is told, so that none is missed."""
    if not others:
        return []
    places = ", ".join(dict.fromkeys(grid.name for grid in others[:MAX_PLACES_SHOWN] if grid.name))
    count = f"{len(others)} tables" if len(others) > 1 else "1 table"
    parts = [f"{count} without columns for code and title, not read", *([places] if places else [])]
    return [f"{': '.join(parts)}; {_first_headings(others)[0]}"]


def _first_headings(grids: Sequence[Grid]) -> list[str]:
    first = next((row for grid in grids for row in grid.rows if any(row)), None)
    return [] if first is None else [f"the first table has: {_headings(first)}"]


def _unknown_levels(mapping: Mapping) -> list[str]:
    if not mapping.levels:
        return []
    shown = ", ".join(mapping.levels[:MAX_LEVELS_SHOWN])
    more = (
        f" and {len(mapping.levels) - MAX_LEVELS_SHOWN} more"
        if len(mapping.levels) > MAX_LEVELS_SHOWN
        else ""
    )
    return [f"{mapping.where}: no severity of ours, left out: {shown}{more}"]


def _headings(cells: Sequence[str]) -> str:
    return ", ".join(" ".join(cell.split()) for cell in cells[:MAX_HEADINGS_SHOWN] if cell)


def _bytes_of(path: Path, problems: list[Problem]) -> bytes | None:
    try:
        return read_plain(path, MAX_FILE_BYTES)
    except OSError as error:
        hint = "name an existing file that can be read"
        problems.append(Problem(str(path), "", error.strerror or str(error), hint))
    return None
