"""What SQLite writes, as it writes it: every write, cut and sync of its files, put in a log or stopped at.

The file functions of the library that Python's own `sqlite3` uses are replaced in memory meanwhile: the
journal's own code runs, unchanged. Knows nothing of journals.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
# Names as pointers: SQLite's own must last as long as the file is open, which a copy of Python's would not.
_OPEN = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER)
_WRITE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(_INT, _POINTER, _INT)
_DELETE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods of version 3."""

    _fields_ = (
        ("version", _INT),
        ("close", _POINTER),
        ("read", _POINTER),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    )


class _Vfs(ctypes.Structure):
    """The beginning of sqlite3_vfs."""

    _fields_ = (
        ("version", _INT),
        ("file_bytes", _INT),
        ("longest_path", _INT),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One call on a file: `data` at `offset`; cut to `offset` bytes; all that came before synced; deleted."""

    kind: Literal["write", "truncate", "sync", "delete"]
    file: str
    offset: int = 0
    data: bytes = b""


@contextlib.contextmanager
def watched(before: Callable[[Step], None]) -> Iterator[None]:
    """Meanwhile `before` hears of each step on a file that is opened from now on, before it is done."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None).contents
    original, delete = vfs.open, vfs.delete
    names: dict[int, str] = {}
    kept: dict[int, tuple[object, ...]] = {}  # by the functions that were there: what ctypes must not free

    def open_(own: int, name: int | None, file: int, flags: int, out: int) -> int:
        status: int = _OPEN(original)(own, name, file, flags, out)
        methods = _POINTER.from_address(file)
        if status == 0 and name and methods.value:
            names[file] = _name(name)
            if methods.value not in kept:
                kept[methods.value] = _telling(_Methods.from_address(methods.value), names, before)
            methods.value = ctypes.addressof(kept[methods.value][0])  # type: ignore[arg-type]
        return status

    def delete_(own: int, name: int, sync: int) -> int:
        before(Step("delete", _name(name)))
        return int(_DELETE(delete)(own, name, sync))

    calls = (_OPEN(open_), _DELETE(delete_))
    vfs.open, vfs.delete = (ctypes.cast(call, _POINTER).value for call in calls)
    try:
        yield
    finally:
        vfs.open, vfs.delete = original, delete


def _name(address: int) -> str:
    return Path(ctypes.string_at(address).decode()).name


def _telling(there: _Methods, names: dict[int, str], before: Callable[[Step], None]) -> tuple[object, ...]:
    """The functions of a file, three of them telling first."""
    write, truncate, sync = _WRITE(there.write), _TRUNCATE(there.truncate), _SYNC(there.sync)

    def write_(file: int, data: int, length: int, offset: int) -> int:
        before(Step("write", names[file], offset, ctypes.string_at(data, length)))
        return int(write(file, data, length, offset))

    def truncate_(file: int, size: int) -> int:
        before(Step("truncate", names[file], size))
        return int(truncate(file, size))

    def sync_(file: int, flags: int) -> int:
        before(Step("sync", names[file]))
        return int(sync(file, flags))

    calls = (_WRITE(write_), _TRUNCATE(truncate_), _SYNC(sync_))
    copy = _Methods.from_buffer_copy(there)
    copy.write, copy.truncate, copy.sync = (ctypes.cast(call, _POINTER).value for call in calls)
    return (copy, *calls)


class Disk:
    """What is on a disk whose power may fail: steps that were synced, and those that may or may not be there.

    A name goes for good when the directory is synced, which SQLite does with the first sync of a new log.
    """

    def __init__(self, there: Path) -> None:
        """As a directory is, all of it synced."""
        self._synced = {one.name: bytearray(one.read_bytes()) for one in there.iterdir()}
        self._waiting: dict[str, list[Step]] = {name: [] for name in self._synced}
        self._deleted: set[str] = set()

    def take(self, step: Step) -> None:
        """A step is done."""
        if step.kind == "delete":
            self._deleted.add(step.file)
            return
        if step.kind == "sync" and step.file.endswith("-wal") and not self._synced.get(step.file):
            for name in self._deleted & self._synced.keys():
                del self._synced[name]
            self._deleted.clear()
        content = self._synced.setdefault(step.file, bytearray())
        waiting = self._waiting.setdefault(step.file, [])
        if step.kind != "sync":
            waiting.append(step)
            return
        for one in waiting:
            _apply(content, one)
        waiting.clear()

    def fail(self, directory: Path, chance: random.Random | None = None) -> None:
        """Write the files as they are then: without what was not synced, or, by `chance`, with some of it."""
        directory.mkdir(parents=True)
        for name, content in self._synced.items():
            left = bytearray(content)
            for step in self._waiting[name] if chance else ():
                if chance and chance.random() < 0.5:
                    cut = chance.choice((len(step.data), chance.randint(0, len(step.data))))
                    _apply(left, Step(step.kind, name, step.offset, step.data[:cut]))
            (directory / name).write_bytes(left)


def _apply(content: bytearray, step: Step) -> None:
    if step.kind == "truncate":
        del content[step.offset :]
        return
    content.extend(bytes(max(step.offset - len(content), 0)))
    content[step.offset : step.offset + len(step.data)] = step.data
