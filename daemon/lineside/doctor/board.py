"""Which board this is and what JetPack it runs. Knows nothing of its sensors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.power.board import MODEL_FILES

RELEASE = "etc/nv_tegra_release"
# By L4T's major number: JetPack's, and the first whose TensorRT and Python the daemon can use.
JETPACKS = {32: 4, 35: 5, 36: 6, 38: 7}
OLDEST_JETPACK = 6
# NVIDIA's names of the releases of which more is known than the major number.
RELEASES = {
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "38.2.0": "7.0",
}
_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: (\d+)(?:\.(\d+))?")


def is_jetson(machine: Machine) -> bool:
    """Whether this is a board of NVIDIA's."""
    compatible = machine.read("proc/device-tree/compatible") or ""
    return "nvidia,tegra" in compatible or machine.read(RELEASE) is not None


def look(machine: Machine) -> Iterator[Finding]:
    """Model and JetPack."""
    model = next(filter(None, map(machine.read, MODEL_FILES)), "")
    if model:
        yield finding("board.model", "ok", model, board=model[:100])
    else:
        yield finding("board.model", "unknown", "neither a device tree nor DMI names this machine")
    yield _jetpack(machine)


def _jetpack(machine: Machine) -> Finding:
    name = "board.jetpack"
    if not is_jetson(machine):
        return finding(name, "not_applicable", "this is no Jetson")
    text = machine.read(RELEASE)
    release = _RELEASE.search(text or "")
    if release is None:
        seen = f"/{RELEASE} {'is missing' if text is None else 'names no release'}"
        return finding(name, "warning", seen, "install nvidia-jetpack from NVIDIA's package source")
    major, l4t = int(release[1]), ".".join(group or "0" for group in release.groups())
    jetpack = JETPACKS.get(major)
    if jetpack is None:
        todo = f"known are L4T {', '.join(map(str, JETPACKS))}: look for a newer Lineside"
        return finding(name, "note", f"L4T {l4t}, of no known JetPack", todo, l4t=l4t)
    exact = RELEASES.get(l4t, f"{jetpack}")
    seen = f"JetPack {exact} (L4T {l4t})"
    if jetpack < OLDEST_JETPACK:
        todo = f"its TensorRT and its Python are too old: flash JetPack {OLDEST_JETPACK} or later"
        return finding(name, "warning", seen, todo, l4t=l4t, jetpack=exact)
    return finding(name, "ok", seen, l4t=l4t, jetpack=exact)
