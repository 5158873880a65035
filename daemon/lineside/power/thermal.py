"""Thermal zones with their trips, and over-current counters, as the kernel shows them. Knows no policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lineside.power.readings import Probe, Reading, read_number, text_or

# What no working sensor says: a zone whose unit is gated answers -256, or nothing.
PLAUSIBLE_C = (-40.0, 150.0)
# Trips at which the hardware itself slows down or shuts off; the others only tell.
ACTING = ("passive", "hot", "critical")


@dataclass(frozen=True, slots=True)
class Trip:
    """What the board itself does at a temperature."""

    kind: str
    celsius: float


@dataclass(frozen=True, slots=True)
class Zone:
    """A thermal zone."""

    probe: Probe
    trips: tuple[Trip, ...]


def find_zones(root: Path) -> list[Zone]:
    """Every zone that has a name."""
    return [
        Zone(Probe(name, _reader(directory / "temp")), _trips(directory))
        for directory in sorted(root.glob("sys/class/thermal/thermal_zone*"), key=_number)
        if (name := text_or(directory / "type"))
    ]


def first_acting_trip(zones: Iterable[Zone], above_c: float) -> float | None:
    """The lowest temperature above `above_c` at which some zone makes the board act."""
    acting = (trip.celsius for zone in zones for trip in zone.trips if trip.kind in ACTING)
    return min((celsius for celsius in acting if celsius > above_c), default=None)


def hottest(readings: Iterable[Reading]) -> Reading:
    """The hottest zone that can be read; gated ones do not count."""
    usable = [reading for reading in readings if reading.usable is not None]
    if not usable:
        return Reading("temperature", None, "missing", "no thermal zone can be read")
    return max(usable, key=lambda reading: reading.usable or 0.0)


def find_over_current(root: Path) -> list[Probe]:
    """Counters of the moments at which the board throttled because of its supply's current."""
    return [
        Probe(file.name.removesuffix("_event_cnt"), _counter(file))
        for directory in sorted(root.glob("sys/class/hwmon/hwmon*"))
        if text_or(directory / "name") == "soctherm_oc"
        for file in sorted(directory.glob("oc*_event_cnt"))
    ]


def _reader(path: Path) -> Callable[[], float]:
    def read() -> float:
        celsius = read_number(path, 1e-3)
        if not PLAUSIBLE_C[0] <= celsius <= PLAUSIBLE_C[1]:
            raise ValueError(f"{celsius:g} C is no temperature: the unit is gated")
        return celsius

    return read


def _counter(path: Path) -> Callable[[], float]:
    return lambda: read_number(path)


def _trips(directory: Path) -> tuple[Trip, ...]:
    trips = []
    for file in sorted(directory.glob("trip_point_*_temp")):
        kind = text_or(file.with_name(file.name.replace("_temp", "_type")))
        try:
            trips.append(Trip(kind, read_number(file, 1e-3)))
        except (OSError, ValueError):
            continue
    return tuple(trips)


def _number(directory: Path) -> int:
    return int("".join(filter(str.isdigit, directory.name)) or 0)
