"""Memory by the page: what is taken, what is let go, and what must not be."""

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from lineside.engine.pages import Pages, join, let_go

SIZE = 4 << 20


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some weights"
    path.write_bytes(b"w" * SIZE)
    return path


def in_memory(address: int, what: str = "Rss") -> int:
    """Bytes of the mapping that it is in."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in (addresses := line.split()[0]):
            begin, end = (int(one, 16) for one in addresses.split("-"))
            found = begin <= address < end
        elif found and line.startswith(f"{what}:"):
            return int(line.split()[1]) << 10
    raise AssertionError("it is not mapped")


def mapped(path: Path, access: int) -> np.ndarray:
    with path.open("r+b") as opened:
        return np.frombuffer(mmap.mmap(opened.fileno(), SIZE, access=access), np.uint8)


@pytest.mark.parametrize("access", [mmap.ACCESS_READ, mmap.ACCESS_COPY])
def test_what_was_read_of_a_file_is_let_go_and_read_again(file, access):
    values = mapped(file, access)
    assert values.sum(dtype=np.int64) == SIZE * ord("w")
    assert in_memory(values.ctypes.data) == SIZE
    let_go(file)
    assert in_memory(values.ctypes.data) == 0
    assert values.sum(dtype=np.int64) == SIZE * ord("w")


def test_a_mapping_that_was_written_to_stays(file):
    values = mapped(file, mmap.ACCESS_COPY)
    values[7] = 1
    let_go(file)
    assert values[7] == 1


def test_other_files_stay(file, tmp_path):
    other = tmp_path / "some weights.old"
    other.write_bytes(b"o" * SIZE)
    values = mapped(other, mmap.ACCESS_READ)
    assert values.sum(dtype=np.int64)
    let_go(file)
    assert in_memory(values.ctypes.data) == SIZE


def test_cleared_pages_are_zeros_that_take_no_memory():
    pages = Pages((SIZE // 4,), np.float32)
    pages.array[:] = 1
    written = in_memory(pages.array.ctypes.data)  # a neighbour may be in the same mapping
    pages.clear()
    assert in_memory(pages.array.ctypes.data) == written - SIZE
    assert not pages.array.any()


def huge_pages_come_when_asked() -> bool:
    """From Linux 6.1 on; before that they come later."""
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 1)


@pytest.mark.skipif(not huge_pages_come_when_asked(), reason="this kernel takes its time")
def test_what_is_filled_becomes_huge_pages_and_nothing_else_grows():
    filled, sparse = Pages((SIZE,), np.float32), Pages((SIZE,), np.float32)
    filled.array[:] = 3
    sparse.array[:: mmap.PAGESIZE] = 4  # every fourth page
    before = in_memory(sparse.array.ctypes.data)
    assert join() >= 3 * SIZE
    assert in_memory(filled.array.ctypes.data, "AnonHugePages") >= 3 * SIZE
    assert (filled.array == 3).all()
    assert in_memory(sparse.array.ctypes.data) == before
    assert sparse.array.sum() == 4 * SIZE // mmap.PAGESIZE


def test_a_system_without_huge_pages_is_left_alone(monkeypatch):
    monkeypatch.setattr("lineside.engine.pages._HUGE", Path("/none"))
    assert join() == 0
