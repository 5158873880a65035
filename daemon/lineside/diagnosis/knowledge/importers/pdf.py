"""PDF files as grids and lines of running text. Knows nothing of fault codes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

from lineside.diagnosis.knowledge.importers.extra import UnreadableError, another_step, library
from lineside.diagnosis.knowledge.importers.grids import Gathered, Grid, Line

MAX_PAGES = 3000
MAX_PAGES_SHOWN = 20


def pdf_parts(data: bytes) -> Gathered:
    """Tables and running text of every page; pages without text are named."""
    pdfplumber = library("pdfplumber", ".pdf")
    # pdfminer writes a warning for each odd font.
    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    gathered = Gathered()
    scanned = []
    with pdfplumber.open(io.BytesIO(data)) as book:
        if len(book.pages) > MAX_PAGES:
            raise UnreadableError(f"has {len(book.pages)} pages, at most {MAX_PAGES} are taken")
        for number, page in enumerate(book.pages, 1):
            another_step()
            if not page.chars:
                scanned.append(number)
            else:
                _read_page(page, number, gathered)
            page.close()
    if scanned:
        named = ", ".join(map(str, scanned[:MAX_PAGES_SHOWN]))
        more = f" and {len(scanned) - MAX_PAGES_SHOWN} more" if len(scanned) > MAX_PAGES_SHOWN else ""
        gathered.notes.append(f"no text on pages {named}{more}: scanned? nothing of them was read")
    return gathered


def _read_page(page: Any, number: int, gathered: Gathered) -> None:
    tables = page.find_tables()
    for table in tables:
        rows = [[cell or "" for cell in row] for row in table.extract()]
        gathered.grids.append(Grid(f"page {number}", rows))
    rest = page
    for table in tables:
        rest = rest.outside_bbox(table.bbox, strict=False)
    gathered.lines.extend(_lines(rest, number))


def _lines(page: Any, number: int) -> Iterator[Line]:
    for line in (page.extract_text() or "").splitlines():
        yield Line(f"page {number}", line)
