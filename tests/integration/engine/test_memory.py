"""Caches and logits take memory as they are written: what is there for the worst case costs nothing yet."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from lineside.engine.base import Extension
from lineside.engine.bundle import open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine

SLOTS = 4
PRESENT_BIT = 1 << 63


@pytest.fixture
def engine(smollm2_bundle):
    # An allocator that has had memory in use hands it out again, and clears it: the caches are not of it.
    used = [np.ones(16 << 20, np.uint8) for _ in range(20)]
    pin = np.ones(1 << 20, np.uint8)
    used.clear()
    opened = OnnxRuntimeEngine(open_bundle(smollm2_bundle), slots=SLOTS, threads=2, max_chunk_tokens=128)
    yield opened
    opened.close()
    del pin


def test_a_cache_takes_memory_only_for_what_has_been_in_it(engine):
    geometry_bytes = engine.capabilities.cache_bytes
    assert resident(engine) < geometry_bytes / 100
    tokens = engine.capabilities.max_chunk_tokens
    engine.forward([Extension(1, 0, tuple(range(100, 100 + tokens)), (tokens - 1,))])
    part = geometry_bytes * tokens / (SLOTS * engine.capabilities.max_seq_len)
    assert part <= resident(engine) < 1.5 * part


def test_what_the_measuring_wrote_is_given_back(engine):
    engine.warm_up()
    assert resident(engine) == 0
    tokens = (100, 101, 102)
    (measured,) = engine.forward([Extension(0, 0, tokens, (2,))])
    expected = measured.copy()
    engine.warm_up()
    (again,) = engine.forward([Extension(0, 0, tokens, (2,))])
    assert (again == expected).all()


def resident(engine: OnnxRuntimeEngine) -> int:
    """Bytes of the caches and the logits that are in memory, by the kernel's table of pages."""
    arrays = [pages.array for pages in (*engine._cache._host, engine._logits_pages)]
    pages = 0
    with Path("/proc/self/pagemap").open("rb") as table:
        for array in arrays:
            table.seek(array.ctypes.data // mmap.PAGESIZE * 8)
            entries = np.frombuffer(table.read(-(-array.nbytes // mmap.PAGESIZE) * 8), np.uint64)
            pages += int(np.count_nonzero(entries & np.uint64(PRESENT_BIT)))
    return pages * mmap.PAGESIZE
