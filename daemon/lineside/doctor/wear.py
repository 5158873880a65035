"""How worn the machine's eMMC and NVMe are, as they themselves count. Knows no file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineside.doctor.finding import Finding, State, finding
from lineside.doctor.machine import Machine, read_plain
from lineside.doctor.measured import MEASURE, Nvme, read_measured

# The chip tells in tenths of its life: 0x01 is 0 to 10 %, 0x0b past its end.
WORN_PERCENT, OVER_PERCENT = 80, 100
SPARE: dict[int, State] = {
    2: "warning",
    3: "problem",
}  # pre_eol_info: 80 %, 90 % of the spare blocks are used
# The bits of an NVMe's critical warning; all but the temperature's say that it fails.
CRITICAL = (
    "spare blocks run out",
    "too hot or too cold",
    "unreliable",
    "read-only",
    "its backup power failed",
)
FAILING, HOT = 0b11101, 0b00010
COOL = "bring it back between the temperatures of its data sheet: air, a heat sink"
REPLACE_DRIVE = "make a backup and plan to replace the drive: lineside backup"
REPLACE = "make a backup and plan to replace the module or move the state to an NVMe"


def look(machine: Machine) -> Iterator[Finding]:
    """Each eMMC; an NVMe's wear as root has measured it."""
    for device in machine.glob("sys/block/mmcblk*/device/life_time"):
        yield _emmc(device.parent)
    drives = [device.name for device in machine.glob("sys/class/nvme/nvme*")]
    measured = read_measured(machine) if drives else ""
    for drive in drives:
        if isinstance(measured, str):
            yield finding(f"wear.{drive}", "unknown", measured, MEASURE)
        else:
            known, age = measured
            yield _nvme(drive, known.nvme.get(drive, Nvme(error="it was not there when root measured")), age)


def _nvme(drive: str, smart: Nvme, age: str) -> Finding:
    name = f"wear.{drive}"
    if smart.error:
        return finding(name, "unknown", f"{smart.error} ({age})", MEASURE)
    seen = (
        f"{smart.used_percent} % of its life is used, {smart.spare_percent} % of its spare blocks are left,"
        f" {smart.media_errors} media errors ({age})"
    )
    state: State = "ok"
    todo = REPLACE_DRIVE
    if smart.critical & FAILING or smart.used_percent > OVER_PERCENT:
        state = "problem"
    elif smart.media_errors or smart.used_percent >= WORN_PERCENT:
        state = "warning"
    elif smart.critical:
        state, todo = "warning", COOL if smart.critical == HOT else REPLACE_DRIVE
    if smart.critical:
        seen = f"{', '.join(_told(smart.critical))}; {seen}"
    values: dict[str, Any] = {
        f"{drive}_used_percent": smart.used_percent,
        f"{drive}_spare_percent": smart.spare_percent,
        f"{drive}_media_errors": smart.media_errors,
        f"{drive}_written_bytes": smart.written_bytes,
    }
    return finding(name, state, seen, "" if state == "ok" else todo, **values)


def _told(critical: int) -> Iterator[str]:
    for bit, meaning in enumerate(CRITICAL):
        if critical & 1 << bit:
            yield meaning
    if critical >> len(CRITICAL):
        yield "warnings of another kind"


def _emmc(device: Path) -> Finding:
    block = device.parent.name
    name = f"wear.{block}"
    tenths = [
        int(word, 16) for word in re.findall(r"0x[0-9a-fA-F]{1,2}\b", read_plain(device / "life_time") or "")
    ]
    spare = re.fullmatch(r"0x([0-9a-fA-F]{1,2})", read_plain(device / "pre_eol_info") or "")
    used = max(tenths, default=0) * 10
    if not used:
        return finding(name, "unknown", "the chip does not tell how worn it is")
    level = int(spare[1], 16) if spare else 0
    state = SPARE.get(level, "ok")
    if used > OVER_PERCENT:
        state = "problem"
    elif used >= WORN_PERCENT and state == "ok":
        state = "warning"
    seen = f"up to {min(used, OVER_PERCENT)} % of its life is used" + (
        ", and more" if used > OVER_PERCENT else ""
    )
    return finding(name, state, seen, "" if state == "ok" else REPLACE, **{f"{block}_used_percent": used})
