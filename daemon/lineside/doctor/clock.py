"""The clock: plausible, synchronised, by whom; and the one that runs while the board is off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine, read_plain
from lineside.doctor.measured import MEASURE, Clock, read_measured

# Certificates and schedules are judged by this clock: before the first, it has never been set.
FIRST_YEAR, LAST_YEAR = 2025, 2099
SOURCES = (
    "chrony.service",
    "chronyd.service",
    "systemd-timesyncd.service",
    "ntp.service",
    "ntpsec.service",
    "ptp4l.service",
)
RTC_OFF_S = 120
# RTC_VL_*: data invalid, backup low, backup empty, accuracy low; not that it ran on the backup for a while.
LOW = 0b1111
CHANGE = "replace its battery, then hwclock --systohc"
SET = "set it: timedatectl set-time 'YYYY-MM-DD HH:MM:SS' && hwclock --systohc"
SERVER = "name the plant's time server in /etc/systemd/timesyncd.conf (NTP=) or chrony's, and start it"


def look(machine: Machine) -> Iterator[Finding]:
    """All of it."""
    plausible = _year(machine.now_s)
    yield plausible
    source = _source(machine)
    yield source
    yield _synchronised(machine)
    chosen = _boot_clock(machine)
    yield _rtc(machine, chosen)
    if chosen is not None:
        yield _battery(machine, chosen.name)


def _year(now_s: float) -> Finding:
    year = time.gmtime(now_s).tm_year
    seen = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if not FIRST_YEAR <= year <= LAST_YEAR:
        todo = f"{SET}: until then no certificate is valid and schedules are wrong"
        return finding("clock.year", "problem", seen, todo)
    return finding("clock.year", "ok", seen)


def _source(machine: Machine) -> Finding:
    name = "clock.source"
    shown = machine.run("systemctl", "show", "-p", "Id,ActiveState", *SOURCES)
    if shown is None or shown.status:
        return finding(name, "unknown", "systemd does not tell which services run")
    blocks = [
        dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.out.split("\n\n")
    ]
    active = sorted({b["Id"].removesuffix(".service") for b in blocks if b.get("ActiveState") == "active"})
    if not active:
        return finding(name, "warning", "nothing sets this clock", SERVER, time_source="none")
    return finding(name, "ok", ", ".join(active), time_source=", ".join(active))


def _synchronised(machine: Machine) -> Finding:
    name = "clock.synchronised"
    shown = machine.run("timedatectl", "show", "-p", "NTPSynchronized")
    if shown is None or shown.status or "=" not in shown.out:
        return finding(name, "unknown", "timedatectl does not tell")
    if shown.out.strip().endswith("=yes"):
        return finding(name, "ok", "yes", clock_synchronised=True)
    return finding(name, "warning", "no", SERVER, clock_synchronised=False)


def _boot_clock(machine: Machine) -> Path | None:
    """The one that the kernel sets its clock from at boot, else the first."""
    clocks = list(machine.glob("sys/class/rtc/rtc*"))
    first = clocks[0] if clocks else None
    return next((clock for clock in clocks if read_plain(clock / "hctosys") == "1"), first)


def _battery(machine: Machine, clock: str) -> Finding:
    """As root has measured it."""
    name, measured = "clock.battery", read_measured(machine)
    if isinstance(measured, str):
        return finding(name, "unknown", measured, MEASURE)
    known, age = measured
    told = known.clocks.get(clock, Clock(error="it was not there when root measured"))
    if told.error:
        return finding(name, "unknown", f"{clock}: {told.error} ({age})")
    if told.flags & LOW:
        seen = f"{clock}: its voltage was too low ({age})"
        return finding(name, "warning", seen, CHANGE, clock_battery="low")
    return finding(name, "ok", f"{clock}: its voltage is enough ({age})", clock_battery="ok")


def _rtc(machine: Machine, chosen: Path | None) -> Finding:
    name = "clock.rtc"
    if chosen is None:
        return finding(
            name,
            "warning",
            "there is none",
            f"after a power cut the clock is wrong until it is synchronised: {SERVER}",
        )
    told = read_plain(chosen / "since_epoch") or ""
    kind = read_plain(chosen / "name") or chosen.name
    if not told.isdecimal():
        return finding(name, "unknown", f"{kind} does not tell its time")
    off_s = round(int(told) - machine.now_s)
    seen = f"{kind} ({chosen.name}), {off_s:+d} s"
    if time.gmtime(min(int(told), 1 << 40)).tm_year < FIRST_YEAR:
        return finding(name, "warning", seen, f"its battery is flat or missing: {CHANGE}")
    if abs(off_s) > RTC_OFF_S:
        return finding(
            name,
            "warning",
            seen,
            "hwclock --systohc; if it comes back, its battery is flat",
            rtc_offset_s=off_s,
        )
    return finding(name, "ok", seen, rtc_offset_s=off_s)
