"""What the power limit can measure and act through here. Knows no policy."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from lineside.doctor.board import is_jetson
from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine
from lineside.power.board import discover
from lineside.power.nvpmodel import current_mode_id, read_modes


def look(machine: Machine) -> Iterator[Finding]:
    """Sensors, modes and the privileged helper."""
    board = discover(machine.root, nvml=False)
    rails = ", ".join(probe.name for probe in board.rails)
    if board.rails:
        yield finding("power.sensors", "ok", f"{rails}; {board.total.explanation}")
    elif machine.config.power.limit_w:
        todo = "the limit is held blindly, at 30 % of the time: see docs/power.md for sensors"
        yield finding("power.sensors", "warning", "a limit is set, and nothing measures power", todo)
    else:
        yield finding("power.sensors", "note", "nothing measures power", "set no limit, or see docs/power.md")
    if not is_jetson(machine):
        yield finding("power.modes", "not_applicable", "this is no Jetson")
        return
    modes, current = read_modes(machine.root), current_mode_id(machine.root)
    if not modes.modes:
        yield finding(
            "power.modes", "note", "/etc/nvpmodel.conf names no mode", "install nvidia-l4t-nvpmodel"
        )
    else:
        mode = modes.by_id(current) if current is not None else None
        yield finding("power.modes", "ok", f"{mode.name if mode else 'unknown'} of {len(modes.modes)} modes")
    yield _helper(Path(machine.config.power.helper_socket))


def _helper(path: Path) -> Finding:
    try:
        there = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        there = False
    if there:
        return finding("power.helper", "ok", f"it listens at {path}")
    todo = "systemctl enable --now lineside-power.socket: without it, pacing alone holds a limit"
    return finding("power.helper", "note", f"there is no helper at {path}", todo)
