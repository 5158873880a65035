"""Excel's files, new and old, as grids of text. Knows nothing of fault codes."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable
from typing import Any

from lineside.diagnosis.knowledge.importers.extra import UnreadableError, library, refuse_bombs
from lineside.diagnosis.knowledge.importers.grids import Gathered, Grid

MAX_ROWS, MAX_COLUMNS = 200_000, 256
# First row and column and the ones behind the last, from 0.
_Span = tuple[int, int, int, int]


def xlsx_grids(data: bytes) -> Gathered:
    """A grid for each sheet; hidden ones too, for alarm lists are kept there."""
    refuse_bombs(data)
    openpyxl = library("openpyxl", ".xlsx")
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
    except Exception as error:  # the library raises whatever a damaged part makes it raise
        raise UnreadableError(f"cannot be read: {error}") from error
    gathered = Gathered()
    for sheet in book.worksheets:
        _refuse_size(sheet.title, sheet.max_row or 0, sheet.max_column or 0)
        rows = [[_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        spans = [(r.min_row - 1, r.max_row, r.min_col - 1, r.max_col) for r in sheet.merged_cells.ranges]
        gathered.grids.append(_grid(sheet.title, rows, spans))
    book.close()
    return gathered


def xls_grids(data: bytes) -> Gathered:
    """A grid for each sheet of a file from before 2007."""
    xlrd = library("xlrd", ".xls")
    try:
        # Its own remarks go to standard output unless they are given a place.
        book = xlrd.open_workbook(file_contents=data, formatting_info=True, logfile=io.StringIO())
    except Exception as error:
        raise UnreadableError(f"cannot be read: {error}") from error
    gathered = Gathered()
    for sheet in book.sheets():
        _refuse_size(sheet.name, sheet.nrows, sheet.ncols)
        rows = [[_text(cell.value) for cell in sheet.row(number)] for number in range(sheet.nrows)]
        width = max(map(len, rows), default=0)
        rows = [row + [""] * (width - len(row)) for row in rows]
        gathered.grids.append(_grid(sheet.name, rows, sheet.merged_cells))
    return gathered


def _grid(name: str, rows: list[list[str]], spans: Iterable[_Span]) -> Grid:
    continued = set()
    for top, bottom, left, right in spans:
        for row in range(top, min(bottom, len(rows))):
            for column in range(left, min(right, len(rows[row]))):
                rows[row][column] = rows[top][left]
                if row > top:
                    continued.add((row, column))
    return Grid(name, rows, frozenset(continued))


def _refuse_size(name: str, rows: int, columns: int) -> None:
    if rows > MAX_ROWS or columns > MAX_COLUMNS:
        taken = f"at most {MAX_ROWS} by {MAX_COLUMNS} are taken"
        raise UnreadableError(f"sheet {name} has {rows} rows and {columns} columns, {taken}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        # 17, which both files keep as 17.0.
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return str(value)
