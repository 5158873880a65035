"""The C library's allocator, told what a daemon needs that loads much at once and then serves for months.

Knows nothing of what is loaded. Where the C library is not glibc, nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes

# Of glibc's <malloc.h>.
_M_ARENA_MAX = -8
ARENAS = 2


def give_back() -> None:
    """Return to the system what has been freed: loading leaves megabytes of it behind."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def share_arenas() -> None:
    """Let threads allocate from few pools, each of which keeps some megabytes free. Before they begin."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
