"""Files of other programs, read in a process of its own. Knows nothing of fault codes.

A few bytes can keep their libraries busy for ever, or have them unpack without end, and nothing in a thread
can stop that: the child's timer and its memory limit do.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from lineside.diagnosis.knowledge.importers.extra import MAX_UNPACKED_BYTES, UnreadableError, library
from lineside.diagnosis.knowledge.importers.grids import Gathered
from lineside.diagnosis.knowledge.importers.pages import docx_parts, html_parts
from lineside.diagnosis.knowledge.importers.pdf import pdf_parts
from lineside.diagnosis.knowledge.importers.sheets import xls_grids, xlsx_grids

# Of the processor: a page of a real manual takes a tenth of a second, a sheet of 200,000 rows half a minute.
PAGE_S, FILE_S = 30.0, 180.0
LIMIT_BYTES = 2 << 30
# What fails with so much of it in use fails for want of more.
NEARLY = 0.8
_CSV = "convert it to CSV, or import it in parts"
_PAGE = "print it into a new PDF, or convert it to CSV or text"


class _Kind(NamedTuple):
    read: Callable[[bytes], Gathered]
    libraries: tuple[str, ...]
    hint: str = _CSV


_KINDS = {
    ".xlsx": _Kind(xlsx_grids, ("openpyxl",)),
    ".xlsm": _Kind(xlsx_grids, ("openpyxl",)),
    ".xls": _Kind(xls_grids, ("xlrd",)),
    ".docx": _Kind(docx_parts, ("docx",)),
    ".html": _Kind(html_parts, ("bs4", "lxml")),
    ".htm": _Kind(html_parts, ("bs4", "lxml")),
    ".pdf": _Kind(pdf_parts, ("pdfplumber",), _PAGE),
}
ENDINGS = tuple(_KINDS)


class _Answer(msgspec.Struct, frozen=True):
    """What the child found, or why it could not."""

    gathered: Gathered | None = None
    problem: str = ""
    hint: str = ""


def read_confined(data: bytes, ending: str) -> Gathered:
    """Tables and running text of a file. Raises UnreadableError, also where it takes too much."""
    kind = _KINDS[ending]
    for module in kind.libraries:
        library(module, ending)
    step, seconds = ("one page", PAGE_S) if ending == ".pdf" else ("it", FILE_S)
    # The child would import what lies where it starts.
    done = subprocess.run(
        [sys.executable, "-m", __name__, ending, str(seconds), str(LIMIT_BYTES)],
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
    )
    if done.returncode == -signal.SIGPROF:
        message = f"cannot be read: {step} takes more than {seconds:g} s; its parts may refer to themselves"
        raise UnreadableError(message, kind.hint)
    if done.returncode != 0:
        message = f"cannot be read: its reader ended with {done.returncode}, most likely for want of memory"
        raise UnreadableError(message, kind.hint)
    answer = msgspec.json.decode(done.stdout, type=_Answer)
    if answer.gathered is None:
        raise UnreadableError(answer.problem, answer.hint)
    return answer.gathered


def _answer(data: bytes, kind: _Kind, limit_bytes: int) -> bytes:
    try:
        encoded = _encoded(data, kind, limit_bytes)
    except UnreadableError as error:
        return msgspec.json.encode(_Answer(problem=str(error), hint=error.hint))
    if len(encoded) > MAX_UNPACKED_BYTES:
        problem = f"unpacks to {len(encoded)} bytes, at most {MAX_UNPACKED_BYTES} are taken"
        return msgspec.json.encode(_Answer(problem=problem, hint=kind.hint))
    return encoded


def _encoded(data: bytes, kind: _Kind, limit_bytes: int) -> bytes:
    try:
        return msgspec.json.encode(_Answer(kind.read(data)))
    except Exception as error:  # the libraries raise whatever a damaged part makes them raise
        # They wrap what they meet in errors of their own, or tell of it in none.
        if isinstance(error, MemoryError) or _peak_bytes() > NEARLY * limit_bytes:
            message = f"cannot be read: it takes more than {limit_bytes >> 20} MiB of memory"
            raise UnreadableError(message, kind.hint) from error
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"cannot be read: {str(error) or type(error).__name__}", kind.hint) from error


def _peak_bytes() -> int:
    """The most address space that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmPeak:"))


def main() -> None:
    """Answer the file on standard input, within seconds of processor time and bytes of memory."""
    kind, seconds, limit_bytes = _KINDS[sys.argv[1]], float(sys.argv[2]), int(sys.argv[3])
    # SIGPROF's default ends the process in the kernel, whatever it is busy with.
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(_answer(sys.stdin.buffer.read(), kind, limit_bytes))


if __name__ == "__main__":
    main()
