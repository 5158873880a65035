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


def in_memory(array: np.ndarray) -> int:
    """Bytes of it, by the page: neighbours may be in the same mapping."""
    first, pages = array.ctypes.data // mmap.PAGESIZE, array.nbytes // mmap.PAGESIZE
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(first * 8)
        entries = np.frombuffer(pagemap.read(pages * 8), np.uint64)
    return int((entries >> np.uint64(63)).sum()) * mmap.PAGESIZE


def huge_bytes(array: np.ndarray) -> int:
    """Of the mappings that it lies in."""
    begin, end, found, total = array.ctypes.data, array.ctypes.data + array.nbytes, False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in (addresses := line.split()[0]):
            one, other = (int(address, 16) for address in addresses.split("-"))
            found = one < end and begin < other
        elif found and line.startswith("AnonHugePages:"):
            total += int(line.split()[1]) << 10
    return total


def mapped(path: Path, access: int) -> np.ndarray:
    with path.open("r+b") as opened:
        return np.frombuffer(mmap.mmap(opened.fileno(), SIZE, access=access), np.uint8)


@pytest.mark.parametrize("access", [mmap.ACCESS_READ, mmap.ACCESS_COPY])
def test_what_was_read_of_a_file_is_let_go_and_read_again(file, access):
    values = mapped(file, access)
    assert values.sum(dtype=np.int64) == SIZE * ord("w")
    assert in_memory(values) == SIZE
    let_go(file)
    assert in_memory(values) == 0
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
    assert in_memory(values) == SIZE


def test_cleared_pages_are_zeros_that_take_no_memory():
    pages = Pages((SIZE // 4,), np.float32)
    pages.array[:] = 1
    assert in_memory(pages.array) == SIZE
    pages.clear()
    assert in_memory(pages.array) == 0
    assert not pages.array.any()


def huge_pages_come_when_asked() -> bool:
    """From Linux 6.1 on; before that they come later."""
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 1)


@pytest.mark.skipif(not huge_pages_come_when_asked(), reason="this kernel takes its time")
def test_what_is_filled_becomes_huge_pages_and_nothing_else_grows():
    filled, sparse = Pages((SIZE,), np.float32), Pages((SIZE,), np.float32)
    filled.array[:] = 3
    sparse.array[:: mmap.PAGESIZE] = 4  # every fourth page
    before = in_memory(sparse.array)
    assert join() >= 3 * SIZE
    assert huge_bytes(filled.array) > 0
    assert (filled.array == 3).all()
    assert in_memory(sparse.array) == before
    assert sparse.array.sum() == 4 * SIZE // mmap.PAGESIZE


def test_a_system_without_huge_pages_is_left_alone(monkeypatch):
    monkeypatch.setattr("lineside.engine.pages._HUGE", Path("/none"))
    assert join() == 0
