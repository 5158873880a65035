"""When the journal's rows were written, by clocks of which one may be wrong. Knows nothing else of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lineside.telemetry.clock import synchronised

NS_PER_S = 1_000_000_000
# When a row was written, as Now.since_s takes it.
STAMP = "boot_id, received_boot_ns, received_s, synchronised"


@dataclass(frozen=True, slots=True)
class Now:
    """The instant of a transaction.

    `boot_ns`: CLOCK_BOOTTIME, which never jumps, and says nothing across a reboot. `wall_s`: of the calendar,
    which may jump and be years behind unless it is `synchronised`.
    """

    boot_ns: int
    boot_id: str
    wall_s: float
    synchronised: bool

    def since_s(self, boot_id: str, boot_ns: int, wall_s: float, synchronised: bool) -> float:
        """Seconds since a row was written at these; at least so many where the clocks cannot tell."""
        if boot_id == self.boot_id:
            return (self.boot_ns - boot_ns) / NS_PER_S
        up_s = self.boot_ns / NS_PER_S
        return max(up_s, self.wall_s - wall_s) if synchronised and self.synchronised else up_s


def this_boot() -> str:
    """The id of the machine's boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def now(boot_id: str) -> Now:
    """This instant, of the boot with this id."""
    return Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME), boot_id, time.time(), synchronised())
