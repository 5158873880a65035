"""Whether the wall clock can be trusted. Knows nothing of who asks."""

from __future__ import annotations

import ctypes

# struct timex has 208 bytes on 64-bit Linux; with modes 0 the call only reads.
_TIMEX_BYTES = 256
_TIME_ERROR = 5

_libc = ctypes.CDLL(None)


def synchronised() -> bool:
    """Whether the kernel holds the clock to be disciplined, whichever program does it (adjtimex(2))."""
    state: int = _libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return state not in (-1, _TIME_ERROR)
