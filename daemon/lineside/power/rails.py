"""Power rails of a Jetson: INA3221 and INA238 as the kernel shows them, in milliwatts. Knows no policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lineside.power.readings import Probe, Reading, read_number, text_or

MONITORS = ("ina3221", "ina238")
# Rails that measure the whole input of the module or board, best first.
TOTAL_RAILS = ("VIN", "VDD_IN", "POM_5V_IN", "VIN_SYS", "VIN_TOTAL")
# An INA3221 has three shunts; what it numbers from 4 on are sums and shunt voltages.
CHANNELS = (1, 2, 3)
UNCONNECTED = ("", "NC", "RESERVED")


@dataclass(frozen=True, slots=True)
class Total:
    """How the total comes about: the rails that are added up, and why those, for people."""

    rails: tuple[str, ...] = ()
    explanation: str = "no power sensor was found"

    def of(self, rails: tuple[Reading, ...]) -> Reading:
        """The total of one sample. It is as fresh as its worst part."""
        parts = [rail for rail in rails if rail.name in self.rails]
        if not parts:
            return Reading("total", None, "missing", self.explanation)
        for state in ("missing", "stale"):
            if bad := next((part for part in parts if part.state == state), None):
                return Reading("total", None, bad.state, f"{bad.name}: {bad.detail}")
        return Reading("total", sum(part.value or 0.0 for part in parts), "ok")


def find_rails(root: Path) -> list[Probe]:
    """Every connected rail, in milliwatts."""
    rails: dict[str, Probe] = {}
    for directory in monitors(root):
        for name, read in _channels(directory):
            if name.upper() not in UNCONNECTED:
                rails.setdefault(name, Probe(name, read))
    return list(rails.values())


def explain_total(names: list[str]) -> Total:
    """One rail that measures everything, else the sum of all."""
    for name in TOTAL_RAILS:
        if name in names:
            return Total((name,), f"{name} measures the whole input")
    if not names:
        return Total()
    return Total(tuple(names), f"sum of {' + '.join(names)}: no single rail measures the whole input")


def monitors(root: Path) -> list[Path]:
    """The hwmon directories of the power monitors, each once."""
    found: dict[Path, None] = {}
    for chip in MONITORS:
        for directory in sorted(root.glob(f"sys/bus/i2c/drivers/{chip}/*/hwmon/hwmon*")):
            found[directory.resolve()] = None
    for directory in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if text_or(directory / "name") in MONITORS:
            found[directory.resolve()] = None
    return list(found)


def _channels(directory: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    if (directory / "power1_input").exists():  # INA238: microwatts, computed by the chip
        power = directory / "power1_input"
        label = text_or(directory / "power1_label") or text_or(directory / "in0_label") or "VIN"
        yield label, lambda: read_number(power, 1e-3)
        return
    for channel in CHANNELS:
        volts, amps = directory / f"in{channel}_input", directory / f"curr{channel}_input"
        if volts.exists() and amps.exists():
            yield text_or(directory / f"in{channel}_label"), _product(volts, amps)


def _product(volts: Path, amps: Path) -> Callable[[], float]:
    """Millivolts times milliamperes."""
    return lambda: read_number(volts) * read_number(amps) / 1000
