"""Tables as sheets and pages have them: a heading somewhere, merged cells. Knows no file format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lineside.diagnosis.knowledge.importers.columns import language_of_name
from lineside.diagnosis.knowledge.importers.tables import (
    KEY_FIELDS,
    MAX_ABOVE,
    Corrections,
    Row,
    Table,
    columns_of,
    is_heading,
)


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells by row, merged ones filled; `continued` are those that a merge has filled from above."""

    name: str
    rows: Sequence[Sequence[str]]
    continued: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    first_line: int = 1


@dataclass(slots=True)
class Gathered:
    """What one file holds that may be fault codes, and what there is to say about it."""

    grids: list[Grid] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of running text, and where it stands; `kind` heading or item where the file says so."""

    where: str
    text: str
    kind: str = ""


def tables_in(grids: Iterable[Grid], corrections: Corrections) -> tuple[list[Table], list[Grid]]:
    """The tables of fault codes among `grids`, and the others.

    One that goes on without a heading belongs to the last.
    """
    tables: list[Table] = []
    others: list[Grid] = []
    for grid in grids:
        start = next((n for n, row in enumerate(grid.rows[:MAX_ABOVE]) if is_heading(row, corrections)), None)
        if start is not None:
            tables.append(_table(grid, start, corrections))
        elif tables and _goes_on(grid, tables[-1], corrections):
            heading = tables[-1].heading
            more = _rows(grid, 0, heading.cells, corrections)
            tables[-1] = tables[-1]._replace(rows=[*tables[-1].rows, *more])
        elif any(any(row) for row in grid.rows):
            others.append(grid)
    return tables, others


def _goes_on(grid: Grid, table: Table, corrections: Corrections) -> bool:
    """As wide, and no heading of a list of something else: where codes have digits, its first one has."""
    first = next((row for row in grid.rows if any(row)), ())
    if len(first) != len(table.heading.cells):
        return False
    keys = _keys(table.heading.cells, corrections)
    code = _key(first, keys)
    return (
        not code.strip()
        or _has_digit(code)
        or not all(_has_digit(_key(row.cells, keys)) for row in table.rows)
    )


def _keys(heading: Sequence[str], corrections: Corrections) -> list[int]:
    """The places of what a row is known by."""
    columns = enumerate(columns_of(heading, corrections))
    return [n for n, column in columns if column and column.field in KEY_FIELDS]


def _key(cells: Sequence[str], keys: Sequence[int]) -> str:
    return "".join(cells[n] for n in keys)


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _table(grid: Grid, start: int, corrections: Corrections) -> Table:
    heading = [" ".join(cell.split()) for cell in grid.rows[start]]
    below = grid.rows[start + 1] if start + 1 < len(grid.rows) else ()
    # A second heading row under merged cells: a column for each language.
    tongues = [language_of_name(cell) for cell in below]
    if any(tongues) and all(
        tongue or not cell.strip() or _same_as_above(grid, start + 1, n)
        for n, (tongue, cell) in enumerate(zip(tongues, below, strict=True))
    ):
        heading = [
            f"{cell} {tongue}" if tongue else cell for cell, tongue in zip(heading, tongues, strict=False)
        ]
        start += 1
    width = max((n for n, cell in enumerate(heading, 1) if cell), default=0)
    rows = _rows(grid, start + 1, heading[:width], corrections)
    return Table(Row(grid.first_line + start, heading[:width]), rows, grid.name)


def _same_as_above(grid: Grid, row: int, column: int) -> bool:
    return (row, column) in grid.continued


def _rows(grid: Grid, start: int, heading: Sequence[str], corrections: Corrections) -> list[Row]:
    """Rows of one code each: what stands under a code without one of its own belongs to it."""
    keys = _keys(heading, corrections)
    rows: list[Row] = []
    for number, cells in enumerate(grid.rows[start:], start):
        row = [cell.strip() for cell in cells[: len(heading)]]
        row += [""] * (len(heading) - len(row))
        if not any(row) or _is_repeated(row, heading) or _is_caption(row):
            continue
        own = [row[n] for n in keys if (number, n) not in grid.continued]
        if rows and not any(own):
            rows[-1] = _joined(rows[-1], row, {n for n in range(len(row)) if (number, n) in grid.continued})
        else:
            rows.append(Row(grid.first_line + number, row))
    return rows


def _is_repeated(row: Sequence[str], heading: Sequence[str]) -> bool:
    return [" ".join(cell.split()) for cell in row] == list(heading)


def _is_caption(row: Sequence[str]) -> bool:
    """One cell across the whole table: Drive faults."""
    return len(row) > 2 and len(set(row)) == 1


def _joined(above: Row, row: Sequence[str], continued: set[int]) -> Row:
    cells = [
        f"{old}\n{new}" if old and new and n not in continued else old or new
        for n, (old, new) in enumerate(zip(above.cells, row, strict=True))
    ]
    return Row(above.line, cells)
