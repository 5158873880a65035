"""What the processor can do that decides between graphs. Knows no graph."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


def has_vnni(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether an x86 processor adds products of unsigned by signed bytes up in 32 bits, as Linux tells it."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _VNNI.isdisjoint(flags.split())
