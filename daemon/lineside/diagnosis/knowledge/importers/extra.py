"""The libraries that read office files, loaded where one is asked for. Knows no format."""

from __future__ import annotations

import importlib
import io
import signal
import zipfile
from types import ModuleType

from lineside.errors import LinesideError

# A small archive can hold a file without end.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024


class UnreadableError(ValueError):
    """The file is damaged, locked, or no file of its kind. `hint`: what to do about it."""

    def __init__(self, message: str, hint: str = "correct the file and import it again") -> None:
        super().__init__(message)
        self.hint = hint


def library(module: str, ending: str) -> ModuleType:
    """The module; a LinesideError that names the extra where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        hint = "pip install 'lineside[import]', or convert the file to CSV"
        raise LinesideError("import manuals", f"{ending} files need {error.name or module}", hint) from error


def refuse_bombs(data: bytes) -> None:
    """Raise UnreadableError where an archive is none, or unpacks to too much."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(item.file_size for item in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise UnreadableError("is no such file, is damaged, or is locked with a password") from None
    if size > MAX_UNPACKED_BYTES:
        raise UnreadableError(f"unpacks to {size} bytes, at most {MAX_UNPACKED_BYTES} are taken")


def another_step() -> None:
    """Give the part of a file that comes the whole of its reader's time again, where that has a timer."""
    _, seconds = signal.getitimer(signal.ITIMER_PROF)
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
