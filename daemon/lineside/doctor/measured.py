"""What root has measured for a doctor that is nobody: one small file, whole or not there. Knows no device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from lineside.doctor.machine import Machine
from lineside.errors import LinesideError

FILE = "run/lineside/wear.json"
MAX_BYTES = 65_536
MAX_REASON = 200
# The timer measures each hour.
STALE_S = 6 * 3600
MEASURE = "systemctl start lineside-wear.service, or as root: lineside wear --out /" + FILE

Count = Annotated[int, msgspec.Meta(ge=0)]


class Nvme(msgspec.Struct, frozen=True):
    """A drive's own SMART log. `error`: why there is none. `critical`: its critical warning bits."""

    error: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] = ""
    critical: Count = 0
    used_percent: Count = 0
    spare_percent: Count = 100
    spare_threshold_percent: Count = 0
    media_errors: Count = 0
    written_bytes: Count = 0


class Clock(msgspec.Struct, frozen=True):
    """A clock's RTC_VL_* flags. `error`: why there are none."""

    error: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] = ""
    flags: Count = 0


class Measured(msgspec.Struct, frozen=True):
    """All of it. `up_s`: seconds from boot to the measurement, which setting the clock does not change."""

    v: int
    up_s: float
    nvme: dict[str, Nvme] = {}
    clocks: dict[str, Clock] = {}


def write_measured(path: Path, measured: Measured) -> None:
    """The whole of it, readable by all, or what was there before. A device's node is left alone."""
    if path.exists() and not path.is_file():
        raise LinesideError("write what was measured", f"{path} is no plain file", "name a file")
    scratch = path.with_name(f"{path.name}.new")
    try:
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            os.fchmod(descriptor, 0o644)
            stream.write(msgspec.json.encode(measured))
        scratch.replace(path)
    except OSError as error:
        hint = "run it as root; the directory has to be there"
        raise LinesideError("write what was measured", f"{path}: {error.strerror}", hint) from None


def read_measured(machine: Machine) -> tuple[Measured, str] | str:
    """What was measured and how old it is; else why there is nothing to go by."""
    text = machine.read(FILE, MAX_BYTES)
    if text is None:
        return f"only root may ask, and /{FILE} is not there"
    try:
        measured = msgspec.json.decode(text, type=Measured)
    except (msgspec.DecodeError, RecursionError):
        return f"/{FILE} holds something else"
    age_s = up_s(machine) - measured.up_s
    if measured.v != 1 or not 0 <= age_s <= STALE_S:
        return f"/{FILE} is of another boot or release, or older than {STALE_S // 3600} hours"
    return measured, f"measured {age_s / 60:.0f} min ago"


def up_s(machine: Machine) -> float:
    """Seconds since boot."""
    return float((machine.read("proc/uptime") or "0").partition(" ")[0])
