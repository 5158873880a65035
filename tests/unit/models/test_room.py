"""A build that has no room says so before it begins."""

import pytest

from lineside_models import room
from lineside_models.errors import RoomError


@pytest.fixture
def meminfo(tmp_path, monkeypatch):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       16000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(room, "_MEMINFO", file)
    return file


def test_what_there_is_suffices_to_the_byte(meminfo, tmp_path):
    room.check_room("calibrate", tmp_path, 1, 8000 * 1024)
    with pytest.raises(RoomError, match=r"0\.0 GB of memory are needed, 0\.0 are available"):
        room.check_room("calibrate", tmp_path, 1, 8000 * 1024 + 1)


def test_a_full_disk_is_told_with_its_directory(meminfo, tmp_path):
    with pytest.raises(RoomError, match=rf"1000000000\.0 GB are needed in {tmp_path}") as found:
        room.check_room("calibrate", tmp_path, 10**18, 0)
    assert "TMPDIR" in found.value.hint


def test_a_kernel_that_does_not_say_is_no_reason_to_refuse(meminfo, tmp_path):
    meminfo.write_text("MemTotal:       16000 kB\n")
    assert room.memory_available() is None
    room.check_room("calibrate", tmp_path, 1, 10**18)
