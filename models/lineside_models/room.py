"""How much memory and disk there is for a step of the build. Knows no step."""

from __future__ import annotations

import shutil
from pathlib import Path

from lineside_models.errors import RoomError

GB = 1e9
_MEMINFO = Path("/proc/meminfo")


def memory_available() -> int | None:
    """Bytes that a new process could take, as Linux reckons; None where it does not say."""
    for line in _MEMINFO.read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    return None


def check_room(operation: str, directory: Path, disk_bytes: int, memory_bytes: int) -> None:
    """Raises RoomError where `directory` has not so many bytes left, or the machine not so much memory."""
    if (free := shutil.disk_usage(directory).free) < disk_bytes:
        message = f"{disk_bytes / GB:.1f} GB are needed in {directory}, {free / GB:.1f} are free"
        raise RoomError(operation, message, "make room, or set TMPDIR to a directory that has it")
    if (available := memory_available()) is not None and available < memory_bytes:
        message = f"{memory_bytes / GB:.1f} GB of memory are needed, {available / GB:.1f} are available"
        raise RoomError(operation, message, "end other programs, or do this on a larger machine")
