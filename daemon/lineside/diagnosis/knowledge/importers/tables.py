"""CSV files and Markdown pipe tables: a heading row, then a row for each code. Knows nothing of entries."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.importers.columns import (
    TEXT_FIELDS,
    Column,
    Guess,
    guess_of,
    names_a_fault,
)
from lineside.diagnosis.knowledge.importers.problems import Problem
from lineside.diagnosis.knowledge.importers.records import Raw, is_severity
from lineside.diagnosis.knowledge.terms import has_cjk

_RULE = re.compile(r"^\s*\|?\s*:?-{1,}:?\s*(\|\s*:?-{1,}:?\s*)*\|?\s*$")
# As TIA Portal and WinCC export them: <field ref="0" />, <tag 1: "..."/>, @1%5.1f@.
_PLACEHOLDER = re.compile(
    r"<(?:field|tag|textlist|hmitag)\b[^<>]{0,200}>|@\d{1,3}%[^@\s]{0,40}@", re.IGNORECASE
)
NO_VALUE = "<No value>"
_CELL = re.compile(r"(?<!\\)\|")


class Row(NamedTuple):
    """Cells and the line on which they begin."""

    line: int
    cells: Sequence[str]


class Table(NamedTuple):
    """A heading and its rows; `name` is the sheet's or page's."""

    heading: Row
    rows: Sequence[Row]
    name: str = ""


class Mapping(NamedTuple):
    """What the columns of one table were taken for, and not; `levels`: words that are no severities."""

    where: str
    columns: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    levels: tuple[str, ...] = ()


Corrections = Sequence[tuple[Column, str]]
# Titles, logos and remarks stand above a heading, not whole chapters.
MAX_ABOVE = 60
# What a row is known by.
KEY_FIELDS = ("code", "trigger_tag", "trigger_bit")
MAX_LEVELS_SHOWN = 8
# Columns that only a table of faults has.
_FAULT_FIELDS = {"causes", "actions", "trigger_tag"}


def csv_tables(text: str, where: str, problems: list[Problem], corrections: Corrections = ()) -> list[Table]:
    """The one table of a CSV file; commas, semicolons or tabs. Titles may stand above its heading."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, corrections), strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(f"{where}:{reader.line_num}", "", f"is not CSV: {error}"))
        return []
    if not rows:
        return []
    above = (n for n, row in enumerate(rows[:MAX_ABOVE]) if is_heading(row.cells, corrections))
    start = next(above, 0)
    return [Table(rows[start], _continued(rows[start], rows[start + 1 :], corrections))]


def _delimiter(text: str, corrections: Corrections) -> str:
    """What parts the heading, or else whichever the first line that has any has most of."""
    lines = [line for line in itertools.islice(text.splitlines(), MAX_ABOVE) if line.strip()]
    for line in lines:
        for delimiter in "\t;,":
            if is_heading(next(csv.reader([line], delimiter=delimiter), []), corrections):
                return delimiter
    first = next((line for line in lines if any(one in line for one in ",;\t")), "")
    return max(",;\t", key=first.count)


def _continued(heading: Row, rows: Iterable[Row], corrections: Corrections) -> list[Row]:
    """Rows of one code each: of a merged cell, CSV has the text in its first row alone."""
    named = enumerate(columns_of(heading.cells, corrections))
    names = [n for n, column in named if column and column.field in ("title", *KEY_FIELDS)]
    found: list[Row] = []
    for row in rows:
        if found and names and len(row.cells) == len(found[-1].cells) and not _any_of(row, names):
            cells = [
                f"{old}\n{new}" if new.strip() else old
                for old, new in zip(found[-1].cells, row.cells, strict=True)
            ]
            found[-1] = found[-1]._replace(cells=cells)
        else:
            found.append(row)
    return found


def _any_of(row: Row, places: Sequence[int]) -> bool:
    return any(row.cells[n].strip() for n in places if n < len(row.cells))


def markdown_grids(text: str) -> list[Table]:
    """Every pipe table, whatever it is about."""
    lines = text.splitlines()
    return [
        Table(Row(index, _cells(lines[index - 1])), list(_body(lines, index + 1)))
        for index, line in enumerate(lines[1:], 1)
        if _RULE.match(line) and "|" in line and "|" in lines[index - 1]
    ]


def columns_of(headings: Sequence[str], corrections: Corrections) -> list[Column | None]:
    """What each heading means. A correction wins over every guess, a listed one over a likely one.

    In a table of faults without a title, what is guessed to be a meaning is the title.
    """
    corrected = {same_heading(heading): column for column, heading in corrections}
    found = [corrected.get(same_heading(heading)) for heading in headings]
    guesses = [None if column else guess_of(heading) for column, heading in zip(found, headings, strict=True)]
    found = _with(found, guesses, lambda guess: guess.sure, each=True)
    found = _with(found, guesses, lambda guess: not guess.sure and not guess.only_if_missing)
    fields = {column.field for column in found if column}
    if {"causes", "actions"} & fields:
        found = _with(found, guesses, lambda guess: guess.only_if_missing)
        fields = {column.field for column in found if column}
    if "title" not in fields and (_FAULT_FIELDS & fields or any(map(names_a_fault, headings))):
        # Many manuals have one text for each code, under the name of a description.
        given = {column for column, _ in corrections}
        found = [
            Column("title", column.language)
            if column and column.field == "meaning" and column not in given
            else column
            for column in found
        ]
    return found


def _with(
    found: Sequence[Column | None],
    guesses: Sequence[Guess | None],
    wanted: Callable[[Guess], bool],
    *,
    each: bool = False,
) -> list[Column | None]:
    """And the wanted guesses of what none is yet. `each`: also where several are of one field."""
    columns = list(found)
    taken = {column for column in found if column}
    for place, guess in enumerate(guesses):
        if guess is None or columns[place] or not wanted(guess) or _is_taken(guess.column, taken):
            continue
        columns[place] = guess.column
        if not each:
            taken.add(guess.column)
    return columns


def _is_taken(column: Column, taken: Collection[Column]) -> bool:
    fields = {one.field for one in taken if one.language is None or column.language is None}
    return column in taken or column.field in fields


def is_heading(cells: Sequence[str], corrections: Corrections) -> bool:
    """Whether the row names a code (or the bit that raises an alarm) and a title."""
    names = {column.field for column in columns_of(cells, corrections) if column}
    return "title" in names and ("code" in names or {"trigger_tag", "trigger_bit"} <= names)


def raws_of(
    table: Table,
    where: str,
    language: Language | None,
    corrections: Corrections,
    problems: list[Problem],
) -> tuple[list[Raw], Mapping]:
    """Rows by field, and what the columns were taken for."""
    headings = table.heading.cells
    columns = columns_of(headings, corrections)
    place = f"{where}:{table.name}" if table.name else where
    here = f"{place}:{table.heading.line}"
    columns = [
        Column(column.field, column.language or language or _language_of(table.rows, index))
        if column and column.field in TEXT_FIELDS
        else column
        for index, column in enumerate(_keyed(_explicit(columns, language, table.rows), corrections))
    ]
    names = [column.field for column in columns if column]
    message = f"no column for it in: {', '.join(headings)}"
    needed = [name for name in ("code", "title") if name not in names]
    if needed[:1] == ["code"] and {"trigger_tag", "trigger_bit"} <= set(names):
        needed = needed[1:]
    problems.extend(Problem(here, name, message, f"name the column: --map {name}=HEADING") for name in needed)
    twice = {column.field for column in columns if column and columns.count(column) > 1}
    choose = "say which one it is: --map FIELD=HEADING"
    problems.extend(Problem(here, name, "two columns mean it", choose) for name in sorted(twice))
    mapping = Mapping(
        place,
        tuple((heading, _shown(column)) for heading, column in zip(headings, columns, strict=True) if column),
        tuple(heading for heading, column in zip(headings, columns, strict=True) if not column and heading),
    )
    raws = [_raw(row, columns, place, problems) for row in table.rows]
    named = {column.field for column, _ in corrections} | {heading.strip().casefold() for heading in headings}
    if "severity" in named:
        return raws, mapping
    # A column that only seems to hold severities holds many a vendor's classes of his own.
    levels = dict.fromkeys(raw.fields["severity"].strip() for raw in raws if not _is_level(raw))
    raws = [raw if _is_level(raw) else _without_severity(raw) for raw in raws]
    return raws, mapping._replace(levels=tuple(levels))


def _is_level(raw: Raw) -> bool:
    return is_severity(raw.fields.get("severity", ""))


def _without_severity(raw: Raw) -> Raw:
    return dataclasses.replace(raw, fields={**raw.fields, "severity": ""})


def _explicit(
    columns: Sequence[Column | None], language: Language | None, rows: Sequence[Row]
) -> list[Column | None]:
    """A column that names its language stands before one that only seems to be in it."""
    named = {column for column in columns if column and column.language}
    return [
        None
        if column
        and column.field in TEXT_FIELDS
        and column.language is None
        and Column(column.field, language or _language_of(rows, index)) in named
        else column
        for index, column in enumerate(columns)
    ]


def _keyed(columns: Sequence[Column | None], corrections: Corrections) -> list[Column | None]:
    """Where a bit of a word is the key, the list's own number is none, unless a person has said so."""
    bits = {"trigger_tag", "trigger_bit"}
    if not bits <= {column.field for column in columns if column}:
        return list(columns)
    unused = bits if any(column.field == "code" for column, _ in corrections) else {"code"}
    return [None if column and column.field in unused else column for column in columns]


def _shown(column: Column) -> str:
    return f"{column.field}.{column.language}" if column.language else column.field


def same_heading(heading: str) -> str:
    """The heading as two spellings of it compare."""
    return " ".join(unicodedata.normalize("NFKC", heading).casefold().split())


def _raw(row: Row, columns: Sequence[Column | None], where: str, problems: list[Problem]) -> Raw:
    here = f"{where}:{row.line}"
    if len(row.cells) > len(columns):
        extra = (
            f"{len(row.cells)} cells under {len(columns)} headings; put quotes around cells with separators"
        )
        problems.append(Problem(here, "", extra))
    fields: dict[str, Any] = {}
    texts: dict[str, dict[str, Any]] = {}
    for column, cell in zip(columns, row.cells, strict=False):
        if column is None:
            continue
        if column.field in TEXT_FIELDS and column.language:
            texts.setdefault(column.language, {})[column.field] = without_placeholders(cell)
        else:
            fields[column.field] = cell
    tag, bit = fields.pop("trigger_tag", ""), fields.pop("trigger_bit", "")
    if not fields.get("code"):
        fields["code"] = alarm_key(tag, bit)
    return Raw(here, fields, texts)


def alarm_key(tag: str, bit: object) -> str:
    """The code of a bit of an alarm word, for lists that have no other; empty without a tag."""
    tag = tag.strip().strip('"')
    return f"{tag}.{str(bit).strip()}" if tag and tag != NO_VALUE and str(bit).strip() else ""


def without_placeholders(cell: str) -> str:
    """The text with an ellipsis where the panel puts a value in."""
    text = "" if cell.strip() == NO_VALUE else cell
    return _PLACEHOLDER.sub("…", text)


def _language_of(rows: Iterable[Row], index: int) -> Language:
    """By what stands in the column: headings are often English over Chinese text."""
    cells = [row.cells[index] for row in rows if index < len(row.cells) and row.cells[index].strip()]
    return "zh" if 2 * sum(map(has_cjk, cells)) > len(cells) else "en"


def _body(lines: Sequence[str], start: int) -> Iterator[Row]:
    for number, line in enumerate(lines[start:], start + 1):
        if "|" not in line:
            return
        yield Row(number, _cells(line))


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(inner)]
