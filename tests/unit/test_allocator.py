"""What was freed below what is still in use goes back to the system."""

import ctypes
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.allocator import ARENAS, give_back

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


ALLOCATING = """
import sys, threading
from lineside.allocator import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
import ctypes
libc = ctypes.CDLL(None)
together = threading.Barrier(8)
def allocate():
    together.wait()
    for _ in range(200):
        libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
libc.malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
@pytest.mark.parametrize("how", ["shared", "not"])
def test_threads_share_the_pools_that_there_are(how):
    done = subprocess.run([sys.executable, "-c", ALLOCATING, how], capture_output=True, text=True, check=True)
    pools = len(re.findall(r"^Arena \d+:", done.stderr, re.MULTILINE))
    assert (pools <= ARENAS) == (how == "shared")
