"""RAM, swap, CMA, and whether the bundle fits. Knows nothing of what uses them."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.doctor.board import is_jetson
from lineside.doctor.bundle import memory_needed
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.doctor.ports import ask_daemon
from lineside.ports import StatusFacts

GIB = 1 << 30
MIB = 1 << 20
LOW_CMA = 32 * MIB


def look(machine: Machine) -> Iterator[Finding]:
    """All of it as the kernel counts it."""
    sizes = {name: _bytes(value) for name, value in machine.fields("proc/meminfo").items()}
    total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
    if not total or available is None:
        yield finding("memory.ram", "unknown", "/proc/meminfo does not say how much there is")
        return
    yield finding(
        "memory.ram",
        "ok",
        f"{available / GIB:.1f} GiB of {total / GIB:.1f} GiB available",
        memory_total_bytes=total,
        memory_available_bytes=available,
    )
    yield _swap(machine, sizes.get("SwapTotal", 0))
    yield _cma(machine, sizes)
    yield _for_the_bundle(machine, total, available)


def _swap(machine: Machine, total: int) -> Finding:
    lines = (machine.read("proc/swaps") or "").splitlines()[1:]
    devices = [line.split()[0] for line in lines if line.split()]
    if not total or not devices:
        return finding("memory.swap", "ok", "none")
    seen = f"{total / GIB:.1f} GiB on {', '.join(devices)}"
    worn = [device for device in devices if "zram" not in device]
    if worn and any("mmcblk" in device or not device.startswith("/dev/") for device in worn):
        todo = "swapping wears eMMC and SD cards out: use zram, or an NVMe"
        return finding("memory.swap", "note", seen, todo)
    return finding("memory.swap", "ok", seen)


def _cma(machine: Machine, sizes: dict[str, int]) -> Finding:
    total, free = sizes.get("CmaTotal", 0), sizes.get("CmaFree", 0)
    if not total or not is_jetson(machine):
        return finding("memory.cma", "not_applicable", "only a Jetson's GPU takes from it")
    seen = f"{free // MIB} MiB of {total // MIB} MiB free"
    if free < LOW_CMA:
        return finding(
            "memory.cma", "note", seen, "if CUDA cannot allocate: a larger cma= on the kernel's line"
        )
    return finding("memory.cma", "ok", seen)


def _for_the_bundle(machine: Machine, total: int, available: int) -> Finding:
    name = "memory.bundle"
    needed = memory_needed(machine.config)
    if needed is None:
        return finding(name, "not_applicable", "no bundle is served")
    seen = f"about {needed / GIB:.1f} GiB needed"
    smaller = "take a smaller model or precision, or fewer [engine] slots"
    if needed > total:
        return finding(name, "problem", f"{seen}, there are {total / GIB:.1f} GiB", smaller)
    if isinstance(ask_daemon(machine.config), StatusFacts):
        return finding(name, "ok", f"{seen}; a daemon is running")
    if needed > available:
        seen = f"{seen}, {available / GIB:.1f} GiB are available"
        return finding(
            name,
            "warning",
            seen,
            f"end what else runs here (desktop: systemctl isolate multi-user.target), or {smaller}",
        )
    return finding(name, "ok", f"{seen}, {available / GIB:.1f} GiB are available")


def _bytes(value: str) -> int:
    words = value.split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0
