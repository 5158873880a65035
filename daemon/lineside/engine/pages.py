"""Memory by the page, as the system hands it out. Knows nothing of models."""

from __future__ import annotations

import ctypes
import io
import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMAPS, _MAPS, _PAGEMAP = (Path("/proc/self") / name for name in ("smaps", "maps", "pagemap"))
_HUGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
# A mapping's first line: its addresses, rights, offset, device, inode and file.
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)")
_ENTRY_BYTES = 8  # of pagemap, for a page; the highest bit of the last: it is in memory
# Of <asm-generic/mman-common.h>; the second is known from Linux 6.1 on.
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
# As much of a huge page has to be in use: what is not would be filled with zeros.
DENSE = 0.98


class Pages:
    """Zeros that take memory once they are written: most of what is there for the worst case never is.

    They are the system's own pages: an allocator may hand out, and clear, memory that it had in use before.
    """

    def __init__(self, shape: tuple[int, ...], kind: type[np.generic]) -> None:
        size = math.prod(shape) * np.dtype(kind).itemsize
        self._map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.array: NDArray[Any] = np.frombuffer(self._map, kind).reshape(shape)

    def clear(self) -> None:
        """Zeros again, which take no memory."""
        self._map.madvise(mmap.MADV_DONTNEED)


def let_go(file: Path) -> None:
    """Drop what has been read of a mapped file; what is needed of it later is read again.

    For whoever keeps it mapped meanwhile. Mappings that have been written to stay as they are.
    """
    libc = ctypes.CDLL(None)
    for begin, end in _unchanged(file):
        libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _unchanged(file: Path) -> Iterator[tuple[int, int]]:
    """Where a file is mapped in this process and no page is a changed copy."""
    name, found = str(file.resolve()), None
    for line in _SMAPS.read_text("utf-8", "surrogateescape").splitlines():
        if mapping := _MAPPING.fullmatch(line):
            begin, end, _, mapped = mapping.groups()
            found = (int(begin, 16), int(end, 16)) if mapped == name else None
        elif found and line.split() == ["Anonymous:", "0", "kB"]:
            yield found


def join() -> int:
    """Make huge pages of memory without gaps, such as packed weights; how many bytes were asked for.

    Each step reads all of them, and with small pages looks up 512 times as many addresses. Before Linux 6.1
    the system does it by and by. It takes a second for a gigabyte: for a thread of its own.
    """
    try:
        size = int(_HUGE.read_text())
        pagemap = _PAGEMAP.open("rb", buffering=0)
    except OSError:  # a system without them
        return 0
    libc, asked = ctypes.CDLL(None), 0
    with pagemap:
        for begin, end in _private():
            for address in range(-(-begin // size) * size, end - size + 1, size):
                if _share_in_memory(pagemap, address, size) >= DENSE:
                    for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
                        libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice)
                    asked += size
    return asked


def _private() -> Iterator[tuple[int, int]]:
    """Writable memory that is no file's."""
    for line in _MAPS.read_text("utf-8", "surrogateescape").splitlines():
        mapping = _MAPPING.fullmatch(line)
        if mapping and mapping[3] == "rw-p" and mapping[4] in ("", "[heap]"):
            yield int(mapping[1], 16), int(mapping[2], 16)


def _share_in_memory(pagemap: io.FileIO, address: int, size: int) -> float:
    pagemap.seek(address // mmap.PAGESIZE * _ENTRY_BYTES)
    entries = pagemap.read(size // mmap.PAGESIZE * _ENTRY_BYTES)
    marks: bytes = entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]
    return sum(mark > 127 for mark in marks) / max(len(marks), 1)
