"""What was freed below what is still in use goes back to the system."""

import ctypes
import platform
from pathlib import Path

import pytest

from lineside.allocator import give_back

PIECE, PIECES = 64 << 10, 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_freed_memory_goes_back_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pieces = [libc.malloc(PIECE) for _ in range(PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE)
    # The last one stays, so that the allocator has nothing at its end to give back by itself.
    for piece in pieces[:-1]:
        libc.free(piece)
    before = resident_bytes()
    give_back()
    assert before - resident_bytes() > PIECE * PIECES * 0.9
    libc.free(pieces[-1])


def resident_bytes() -> int:
    """Of this process."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) << 10
