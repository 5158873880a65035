"""Word and web files as grids and lines of running text. Knows nothing of fault codes."""

from __future__ import annotations

import io
from typing import Any

from lineside.diagnosis.knowledge.importers.extra import UnreadableError, library, refuse_bombs
from lineside.diagnosis.knowledge.importers.grids import Gathered, Grid, Line

MAX_SPAN = 1000
MAX_CELLS = 500_000  # of one table, those that spans fill counted
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def docx_parts(data: bytes) -> Gathered:
    """Tables and paragraphs of a Word file."""
    refuse_bombs(data)
    docx = library("docx", ".docx")
    try:
        return _docx_gathered(docx.Document(io.BytesIO(data)))
    except Exception as error:  # the library raises whatever a damaged part makes it raise
        raise UnreadableError(f"cannot be read: {error}") from error


def _docx_gathered(document: Any) -> Gathered:
    gathered = Gathered()
    for number, table in enumerate(document.tables, 1):
        gathered.grids.append(_docx_grid(table, f"table {number}"))
    for number, paragraph in enumerate(document.paragraphs, 1):
        style = (paragraph.style.name or "") if paragraph.style is not None else ""
        kind = "heading" if style.startswith(("Heading", "Title")) else "item" if "List" in style else ""
        # A line break within a paragraph is one on the page.
        for text in paragraph.text.split("\n"):
            gathered.lines.append(Line(f"paragraph {number}", text, kind))
    return gathered


def _docx_grid(table: Any, name: str) -> Grid:
    # row.cells would walk the whole table for each row.
    width, cells = len(table.columns), table._cells
    rows = [cells[start : start + width] for start in range(0, len(cells), width or 1)]
    continued = frozenset(
        (r, c) for r in range(1, len(rows)) for c in range(width) if rows[r][c]._tc is rows[r - 1][c]._tc
    )
    return Grid(name, [[cell.text for cell in row] for row in rows], continued)


def html_parts(data: bytes) -> Gathered:
    """Tables, headings, paragraphs and list items of a web page in UTF-8."""
    soup = library("bs4", ".html").BeautifulSoup(data.decode(), _html_parser())
    gathered = Gathered()
    for number, table in enumerate(soup.find_all("table"), 1):
        # A table for the page's layout holds others.
        if table.find("table") is None:
            gathered.grids.append(_html_grid(table, f"table {number}"))
    for break_ in soup.find_all("br"):
        break_.replace_with("\n")
    for tag in soup.find_all([*_HEADINGS, "p", "li", "dt", "dd", "div"]):
        nested = tag.find(["p", "li", "div", "table", "dt", *_HEADINGS])
        if nested is not None or tag.find_parent("table") is not None:
            continue
        kind = "heading" if tag.name in (*_HEADINGS, "dt") else "item" if tag.name == "li" else ""
        for line in tag.get_text().splitlines():
            gathered.lines.append(Line(f"line {tag.sourceline or 0}", " ".join(line.split()), kind))
    return gathered


def _html_parser() -> str:
    library("lxml", ".html")
    return "lxml"


def _html_grid(table: Any, name: str) -> Grid:
    """Cells over several rows and columns fill all of them."""
    filled: dict[tuple[int, int], str] = {}
    continued = set()
    rows = table.find_all("tr")
    for r, row in enumerate(rows):
        c = 0
        for cell in row.find_all(["td", "th"], recursive=False):
            while (r, c) in filled:
                c += 1
            if len(rows) * (c + _span(cell, "colspan")) > MAX_CELLS:
                raise UnreadableError(f"{name} has more than {MAX_CELLS:,} cells", "import its rows as CSV")
            text = cell.get_text("\n", strip=True)
            for down in range(min(_span(cell, "rowspan"), len(rows) - r)):
                for across in range(_span(cell, "colspan")):
                    filled[r + down, c + across] = text
                    if down:
                        continued.add((r + down, c + across))
            c += _span(cell, "colspan")
    width = max((c for _, c in filled), default=-1) + 1
    grid = [[filled.get((r, c), "") for c in range(width)] for r in range(len(rows))]
    return Grid(name, grid, frozenset(continued), table.sourceline or 1)


def _span(cell: Any, name: str) -> int:
    value = str(cell.get(name, "1"))
    return max(1, min(int(value), MAX_SPAN)) if value.isascii() and value.isdigit() else 1
