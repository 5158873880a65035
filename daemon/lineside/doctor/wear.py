"""How worn the machine's eMMC is, as the chip itself counts. Knows no file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lineside.doctor.finding import Finding, State, finding
from lineside.doctor.machine import Machine, read_plain

# The chip tells in tenths of its life: 0x01 is 0 to 10 %, 0x0b past its end.
WORN_PERCENT, OVER_PERCENT = 80, 100
SPARE: dict[int, State] = {
    2: "warning",
    3: "problem",
}  # pre_eol_info: 80 %, 90 % of the spare blocks are used
REPLACE = "make a backup and plan to replace the module or move the state to an NVMe"


def look(machine: Machine) -> Iterator[Finding]:
    """Each eMMC; of an NVMe only that root has to be asked."""
    for device in machine.glob("sys/block/mmcblk*/device/life_time"):
        yield _emmc(device.parent)
    for device in machine.glob("sys/class/nvme/nvme*"):
        todo = f"as root, with nvme-cli: nvme smart-log /dev/{device.name}"
        yield finding(f"wear.{device.name}", "unknown", "the kernel shows an NVMe's wear to root only", todo)


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
