"""PDF files as grids and lines of running text, read in a process of its own. Knows nothing of fault codes.

A few bytes of PDF can keep its reader busy for ever, or have it unpack without end, and nothing in a thread
can stop that: the child's timer and its memory limit do.
"""

from __future__ import annotations

import io
import logging
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from lineside.diagnosis.knowledge.importers.extra import MAX_UNPACKED_BYTES, UnreadableError, library
from lineside.diagnosis.knowledge.importers.grids import Gathered, Grid, Line

MAX_PAGES = 3000
MAX_PAGES_SHOWN = 20
# Of the processor: a page of a real manual takes a tenth of a second, its largest table a few.
PAGE_S = 30
LIMIT_BYTES = 2 << 30
HINT = "print it into a new PDF, or convert it to CSV or text"


class _Answer(msgspec.Struct, frozen=True):
    """What the child found, or why it could not."""

    gathered: Gathered | None = None
    problem: str = ""


def pdf_parts(data: bytes) -> Gathered:
    """Tables and running text of every page; pages without text are named."""
    library("pdfplumber", ".pdf")
    # The child would import what lies where it starts.
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(PAGE_S), str(LIMIT_BYTES)],
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
    )
    if done.returncode == -signal.SIGPROF:
        message = f"cannot be read: one page takes more than {PAGE_S} s; its objects may refer to themselves"
        raise UnreadableError(message, HINT)
    if done.returncode != 0:
        message = f"cannot be read: its reader ended with {done.returncode}, most likely for want of memory"
        raise UnreadableError(message, HINT)
    answer = msgspec.json.decode(done.stdout, type=_Answer)
    if answer.gathered is None:
        raise UnreadableError(answer.problem, HINT)
    return answer.gathered


def _gather(data: bytes, page_s: float) -> Gathered:
    _rearm(page_s)
    pdfplumber = library("pdfplumber", ".pdf")
    # pdfminer writes a warning for each odd font.
    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    gathered = Gathered()
    scanned = []
    with pdfplumber.open(io.BytesIO(data)) as book:
        if len(book.pages) > MAX_PAGES:
            raise UnreadableError(f"has {len(book.pages)} pages, at most {MAX_PAGES} are taken")
        for number, page in enumerate(book.pages, 1):
            _rearm(page_s)
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


def _rearm(page_s: float) -> None:
    # SIGPROF's default ends the process in the kernel, whatever it is busy with.
    signal.setitimer(signal.ITIMER_PROF, page_s)


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


def _answer(data: bytes, page_s: float, limit_bytes: int) -> bytes:
    try:
        encoded = msgspec.json.encode(_Answer(_read(data, page_s, limit_bytes)))
    except UnreadableError as error:
        return msgspec.json.encode(_Answer(problem=str(error)))
    if len(encoded) > MAX_UNPACKED_BYTES:
        problem = f"unpacks to {len(encoded)} bytes, at most {MAX_UNPACKED_BYTES} are taken"
        return msgspec.json.encode(_Answer(problem=problem))
    return encoded


def _read(data: bytes, page_s: float, limit_bytes: int) -> Gathered:
    try:
        return _gather(data, page_s)
    except UnreadableError:
        raise
    except Exception as error:  # the library raises whatever a damaged part makes it raise
        why = str(error) or type(error).__name__
        # The library wraps what it meets in errors of its own.
        if any(isinstance(one, MemoryError) for one in (error, error.__context__)):
            why = f"it takes more than {limit_bytes >> 20} MiB of memory"
        raise UnreadableError(f"cannot be read: {why}") from error


def main() -> None:
    """Answer the file on standard input, within seconds a page and bytes of memory."""
    page_s, limit_bytes = float(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(_answer(sys.stdin.buffer.read(), page_s, limit_bytes))


if __name__ == "__main__":
    main()
