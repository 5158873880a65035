"""Word, web and PDF files as grids and lines of running text. Knows nothing of fault codes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

from lineside.diagnosis.knowledge.importers.extra import UnreadableError, library, refuse_bombs
from lineside.diagnosis.knowledge.importers.grids import Gathered, Grid, Line

MAX_PAGES = 3000
MAX_PAGES_SHOWN = 20
MAX_SPAN = 1000
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def docx_parts(data: bytes) -> Gathered:
    """Tables and paragraphs of a Word file."""
    refuse_bombs(data)
    docx = library("docx", ".docx")
    try:
        document = docx.Document(io.BytesIO(data))
    except Exception as error:  # the library raises whatever a damaged part makes it raise
        raise UnreadableError(f"cannot be read: {error}") from error
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


def html_parts(text: str) -> Gathered:
    """Tables, headings, paragraphs and list items of a web page."""
    soup = library("bs4", ".html").BeautifulSoup(text, _html_parser())
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


def pdf_parts(data: bytes) -> Gathered:
    """Tables and running text of every page; pages without text are named."""
    pdfplumber = library("pdfplumber", ".pdf")
    # pdfminer writes a warning for each odd font.
    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    gathered = Gathered()
    scanned = []
    try:
        with pdfplumber.open(io.BytesIO(data)) as book:
            _refuse_length(len(book.pages))
            for number, page in enumerate(book.pages, 1):
                if not page.chars:
                    scanned.append(number)
                else:
                    _pdf_page(page, number, gathered)
                page.close()
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(f"cannot be read: {error or type(error).__name__}") from error
    if scanned:
        named = ", ".join(map(str, scanned[:MAX_PAGES_SHOWN]))
        more = f" and {len(scanned) - MAX_PAGES_SHOWN} more" if len(scanned) > MAX_PAGES_SHOWN else ""
        gathered.notes.append(f"no text on pages {named}{more}: scanned? nothing of them was read")
    return gathered


def _refuse_length(pages: int) -> None:
    if pages > MAX_PAGES:
        raise UnreadableError(f"has {pages} pages, at most {MAX_PAGES} are taken")


def _pdf_page(page: Any, number: int, gathered: Gathered) -> None:
    tables = page.find_tables()
    for table in tables:
        rows = [[cell or "" for cell in row] for row in table.extract()]
        gathered.grids.append(Grid(f"page {number}", rows))
    rest = page
    for table in tables:
        rest = rest.outside_bbox(table.bbox, strict=False)
    gathered.lines.extend(_pdf_lines(rest, number))


def _pdf_lines(page: Any, number: int) -> Iterator[Line]:
    for line in (page.extract_text() or "").splitlines():
        yield Line(f"page {number}", line)
