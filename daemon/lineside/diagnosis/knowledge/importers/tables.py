"""CSV files and Markdown pipe tables: a heading row, then a row for each code. Knows nothing of entries."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.importers.columns import TEXT_FIELDS, Column, column_of, names_a_fault
from lineside.diagnosis.knowledge.importers.problems import Problem
from lineside.diagnosis.knowledge.importers.records import Raw
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
    """What the columns of one table were taken for, and those that were not."""

    where: str
    columns: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]


Corrections = Sequence[tuple[Column, str]]
# Columns that only a table of faults has.
_FAULT_FIELDS = {"causes", "actions", "trigger_tag"}


def csv_tables(text: str, where: str, problems: list[Problem]) -> list[Table]:
    """The one table of a CSV file; commas, semicolons or tabs, whichever the heading has most of."""
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(f"{where}:{reader.line_num}", "", f"is not CSV: {error}"))
        return []
    return [Table(rows[0], rows[1:])] if rows else []


def markdown_grids(text: str) -> list[Table]:
    """Every pipe table, whatever it is about."""
    lines = text.splitlines()
    return [
        Table(Row(index, _cells(lines[index - 1])), list(_body(lines, index + 1)))
        for index, line in enumerate(lines[1:], 1)
        if _RULE.match(line) and "|" in line and "|" in lines[index - 1]
    ]


def columns_of(headings: Sequence[str], corrections: Corrections) -> list[Column | None]:
    """What each heading means. A correction wins over every guess of its field.

    In a table of faults without a title, what is guessed to be a meaning is the title.
    """
    corrected = {same_heading(heading): column for column, heading in corrections}
    found = [corrected.get(same_heading(heading)) for heading in headings]
    taken = {column for column in found if column}
    fields = {column.field for column in taken if column.language is None}

    def guess(heading: str) -> Column | None:
        column = column_of(heading)
        return None if column is None or column in taken or column.field in fields else column

    guessed = [None if column else guess(heading) for column, heading in zip(found, headings, strict=True)]
    known = {column.field for column in (*found, *guessed) if column}
    if "title" not in known and (_FAULT_FIELDS & known or any(map(names_a_fault, headings))):
        # Many manuals have one text for each code, under the name of a description.
        guessed = [
            Column("title", one.language) if one and one.field == "meaning" else one for one in guessed
        ]
    return [column or one for column, one in zip(found, guessed, strict=True)]


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
    return [_raw(row, columns, place, problems) for row in table.rows], mapping


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
