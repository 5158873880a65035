"""Memory by the page, as the system hands it out. Knows nothing of models."""

from __future__ import annotations

import ctypes
import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMAPS = Path("/proc/self/smaps")
# A mapping's first line: its addresses, rights, offset, device, inode and file.
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)")


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
            begin, end, mapped = mapping.groups()
            found = (int(begin, 16), int(end, 16)) if mapped == name else None
        elif found and line.split() == ["Anonymous:", "0", "kB"]:
            yield found
