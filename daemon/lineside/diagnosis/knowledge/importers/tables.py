"""CSV files and Markdown pipe tables: a heading row, then a row for each code. Knows nothing of entries."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lineside.diagnosis.knowledge.entry import Language
from lineside.diagnosis.knowledge.importers.columns import TEXT_FIELDS, Column, column_of
from lineside.diagnosis.knowledge.importers.problems import Problem
from lineside.diagnosis.knowledge.importers.records import Raw
from lineside.diagnosis.knowledge.terms import has_cjk

_RULE = re.compile(r"^\s*\|?\s*:?-{1,}:?\s*(\|\s*:?-{1,}:?\s*)*\|?\s*$")
_CELL = re.compile(r"(?<!\\)\|")


class Row(NamedTuple):
    """Cells and the line on which they begin."""

    line: int
    cells: Sequence[str]


class Table(NamedTuple):
    """A heading and its rows."""

    heading: Row
    rows: Sequence[Row]


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


def markdown_tables(text: str, where: str, problems: list[Problem]) -> list[Table]:
    """Every pipe table whose heading names a code; other tables and the text around are no fault codes."""
    lines = text.splitlines()
    tables = []
    for index, line in enumerate(lines[1:], 1):
        if _RULE.match(line) and "|" in line and "|" in lines[index - 1]:
            heading = Row(index, _cells(lines[index - 1]))
            rows = list(_body(lines, index + 1))
            if any(column and column.field == "code" for column in map(column_of, heading.cells)):
                tables.append(Table(heading, rows))
    if not tables:
        problems.append(Problem(where, "", "has no pipe table with a column for the code"))
    return tables


def raws_of(
    table: Table, where: str, language: Language | None, problems: list[Problem]
) -> tuple[list[Raw], list[str]]:
    """Rows by field, and headings that mean nothing to us."""
    columns = [column_of(cell) for cell in table.heading.cells]
    here = f"{where}:{table.heading.line}"
    names = [column.field for column in columns if column]
    message = f"no column for it in: {', '.join(table.heading.cells)}"
    problems.extend(Problem(here, needed, message) for needed in ("code", "title") if needed not in names)
    resolved = [
        Column(column.field, column.language or language or _language_of(table.rows, index))
        if column
        else None
        for index, column in enumerate(columns)
    ]
    twice = {column.field for column in resolved if column and resolved.count(column) > 1}
    problems.extend(Problem(here, name, "two columns mean it") for name in sorted(twice))
    ignored = [cell for cell, column in zip(table.heading.cells, columns, strict=True) if not column and cell]
    return [_raw(row, resolved, where, problems) for row in table.rows], ignored


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
            texts.setdefault(column.language, {})[column.field] = cell
        else:
            fields[column.field] = cell
    return Raw(here, fields, texts)


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
