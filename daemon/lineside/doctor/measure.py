"""Asks drives and clocks what the kernel tells to root only. Knows nothing of what the answers mean."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from lineside.doctor.machine import Machine
from lineside.doctor.measured import MAX_REASON, Clock, Measured, Nvme, up_s

MAX_DEVICES = 16
# struct nvme_admin_cmd: opcode, flags, -, nsid, cdw2-3, metadata, addr, lengths, cdw10-15, timeout, result.
ADMIN_COMMAND = struct.Struct("=BBHIIIQQIIIIIIIIII")
NVME_IOCTL_ADMIN_CMD = 0xC0484E41
GET_LOG_PAGE, SMART, ALL_NAMESPACES = 0x02, 0x02, 0xFFFFFFFF
SMART_BYTES = 512
TIMEOUT_MS = 5000
DATA_UNIT_BYTES = 512_000
RTC_VL_READ = 0x80047013
SILENT = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP)

Ioctl = Callable[[int, int, bytearray], int]
T = TypeVar("T")


def measure(machine: Machine, ioctl: Ioctl = fcntl.ioctl) -> Measured:
    """Every drive and every clock; what cannot be asked says why."""
    return Measured(
        1,
        up_s(machine),
        {path.name: _ask(path, Nvme, lambda fd: smart(fd, ioctl)) for path in _devices(machine, "nvme")},
        {path.name: _ask(path, Clock, lambda fd: voltage(fd, ioctl)) for path in _devices(machine, "rtc")},
    )


def smart(descriptor: int, ioctl: Ioctl) -> Nvme:
    """The SMART log of a drive."""
    log = array.array("B", bytes(SMART_BYTES))
    numbers = (SMART_BYTES // 4 - 1) << 16 | SMART
    command = bytearray(
        ADMIN_COMMAND.pack(
            GET_LOG_PAGE, 0, 0, ALL_NAMESPACES, 0, 0, 0, log.buffer_info()[0], 0, SMART_BYTES, numbers,
            0, 0, 0, 0, 0, TIMEOUT_MS, 0,
        )
    )  # fmt: skip
    if status := ioctl(descriptor, NVME_IOCTL_ADMIN_CMD, command):
        return Nvme(error=f"it refuses with NVMe status {status:#x}")
    return Nvme(
        critical=log[0],
        spare_percent=log[3],
        spare_threshold_percent=log[4],
        used_percent=log[5],
        written_bytes=_number(log, 48) * DATA_UNIT_BYTES,
        media_errors=_number(log, 160),
    )


def voltage(descriptor: int, ioctl: Ioctl) -> Clock:
    """Whether a clock's battery was too low."""
    flags = bytearray(4)
    ioctl(descriptor, RTC_VL_READ, flags)
    return Clock(flags=struct.unpack("=I", flags)[0])


def _number(log: array.array[int], at: int) -> int:
    """One of 16 bytes, of which no drive has used more than 6."""
    return min(int.from_bytes(log[at : at + 16].tobytes(), "little"), 1 << 48)


def _devices(machine: Machine, kind: str) -> Iterator[Path]:
    """Nodes of controllers and clocks: nvme0, and not nvme0n1, which is a drive's space."""
    found = [path for path in machine.glob(f"dev/{kind}*") if path.name.removeprefix(kind).isdecimal()]
    return iter(found[:MAX_DEVICES])


def _ask(path: Path, kind: Callable[..., T], ask: Callable[[int], T]) -> T:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return ask(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = "it does not tell" if error.errno in SILENT else (error.strerror or str(error))
        return kind(error=reason[:MAX_REASON])
