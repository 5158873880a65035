"""systemd's view of our units. Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.doctor.finding import Finding, finding
from lineside.doctor.machine import Machine

UNITS = ("lineside.service", "lineside-broker.service", "lineside-power.socket", "lineside-doctor.timer")
PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NRestarts,WatchdogUSec"


def look(machine: Machine) -> Iterator[Finding]:
    """Each unit, and the daemon's watchdog."""
    shown = machine.run("systemctl", "show", "-p", PROPERTIES, *UNITS)
    if shown is None or shown.status:
        yield finding("units", "unknown", "systemd does not answer" if shown else "there is no systemd")
        return
    for block in shown.out.strip().split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        if unit.get("Id") in UNITS:
            yield _unit(unit)
            if unit["Id"] == "lineside.service" and unit.get("LoadState") == "loaded":
                yield _watchdog(unit.get("WatchdogUSec", ""))


def _unit(unit: dict[str, str]) -> Finding:
    name, active = f"units.{unit['Id']}", unit.get("ActiveState", "")
    if unit.get("LoadState") != "loaded":
        return finding(name, "note", "is not installed", "scripts/install installs units: docs/install.md")
    enabled, restarts = unit.get("UnitFileState", ""), unit.get("NRestarts", "0")
    seen = f"{active}, {enabled}, restarted {restarts} times"
    if active == "failed":
        return finding(
            name, "problem", seen, f"journalctl -u {unit['Id']}, then systemctl restart {unit['Id']}"
        )
    if enabled not in ("enabled", "enabled-runtime", "static"):
        return finding(name, "warning", seen, f"it does not start at boot: systemctl enable {unit['Id']}")
    if active not in ("active", "activating", "reloading"):
        return finding(name, "warning", seen, f"systemctl start {unit['Id']}")
    if restarts not in ("0", ""):
        return finding(name, "note", seen, f"why: journalctl -u {unit['Id']}")
    return finding(name, "ok", seen)


def _watchdog(microseconds: str) -> Finding:
    if microseconds in ("", "0", "infinity"):
        todo = "a hung daemon is not restarted: put back WatchdogSec=60"
        return finding("watchdog", "warning", "lineside.service has none", todo)
    return finding("watchdog", "ok", f"lineside.service is watched: {microseconds}")
