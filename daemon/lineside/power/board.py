"""What this machine has to measure and to act on, found once at start. A part that is missing is a state.

Everything of the kernel's is found below a root directory, which tests and containers choose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lineside.power.gpu import Gpu, find_gpu, find_gpu_load
from lineside.power.jtop_adapter import TOTAL as JTOP_TOTAL
from lineside.power.jtop_adapter import Jtop, connect_jtop
from lineside.power.nvml import NvmlDevice, find_nvml
from lineside.power.rails import Total, explain_total, find_rails
from lineside.power.rapl import find_packages
from lineside.power.readings import Probe, Reading, text_or
from lineside.power.thermal import Zone, find_over_current, find_zones, hottest

T = TypeVar("T")

MODEL_FILES = (
    "proc/device-tree/model",
    "sys/firmware/devicetree/base/model",
    "sys/class/dmi/id/product_name",
)


@dataclass(frozen=True, slots=True)
class PowerSample:
    """Every rail at one moment, and their total in milliwatts."""

    total: Reading
    rails: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class HeatSample:
    """What changes slowly: temperatures, the GPU, over-current events."""

    hottest: Reading
    zones: tuple[Reading, ...]
    gpu_load: Reading
    gpu_hz: Reading
    over_current: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The sensors of a machine. `notes` say for people what was not found, and why."""

    model: str
    root: Path
    rails: tuple[Probe, ...]
    total: Total
    zones: tuple[Zone, ...]
    more_temperatures: tuple[Probe, ...]
    gpu: Gpu | None
    gpu_load: Probe | None
    gpu_clock: Probe | None
    over_current: tuple[Probe, ...]
    nvml: NvmlDevice | None
    jtop: Jtop | None = None
    notes: tuple[str, ...] = field(default=())

    def sample_power(self, now_ns: int) -> PowerSample:
        """Read every rail."""
        rails = tuple(rail.sample(now_ns) for rail in self.rails)
        return PowerSample(self.total.of(rails), rails)

    def sample_heat(self, now_ns: int) -> HeatSample:
        """Read the rest."""
        probes = [*(zone.probe for zone in self.zones), *self.more_temperatures]
        zones = tuple(probe.sample(now_ns) for probe in probes)
        return HeatSample(
            hottest=hottest(zones),
            zones=zones,
            gpu_load=_sample(self.gpu_load, "gpu_load", now_ns),
            gpu_hz=_sample(self.gpu_clock, "gpu_hz", now_ns),
            over_current=tuple(probe.sample(now_ns) for probe in self.over_current),
        )

    def close(self) -> None:
        """End what holds a connection."""
        if self.jtop is not None:
            self.jtop.close()


def discover(root: Path = Path("/"), *, nvml: bool = True, jtop: bool = False) -> Board:
    """Find what there is. Never raises: what cannot be used is a note."""
    notes: list[str] = []
    device = _or_note(find_nvml() if nvml else "NVML is not asked", notes)
    service = _or_note(connect_jtop(), notes) if jtop else None
    rails, total = _rails(root, device, service)
    zones = tuple(find_zones(root))
    gpu = find_gpu(root)
    if not rails:
        notes.append("no power sensor: neither INA3221, INA238, RAPL nor NVML")
    if not zones:
        notes.append("no thermal zone")
    if gpu is None:
        notes.append("no GPU whose clock can be capped through devfreq")
    return Board(
        model=next(filter(None, (text_or(root / file) for file in MODEL_FILES)), "unknown"),
        root=root,
        rails=tuple(rails),
        total=total,
        zones=zones,
        more_temperatures=_more_temperatures(device, service if not zones else None),
        gpu=gpu,
        gpu_load=find_gpu_load(root) or (device.load if device else None),
        gpu_clock=gpu.clock() if gpu else (device.clock if device else None),
        over_current=tuple(find_over_current(root)),
        nvml=device,
        jtop=service,
        notes=tuple(notes),
    )


def _rails(root: Path, device: NvmlDevice | None, service: Jtop | None) -> tuple[list[Probe], Total]:
    """A Jetson's rails; else what jtop tells; else a PC's packages and its GPU beside each other."""
    if rails := find_rails(root):
        return rails, explain_total([rail.name for rail in rails])
    if service is not None:
        explanation = "as jetson-stats counts: the input's rail, else the sum of all"
        return service.rails(), Total((JTOP_TOTAL,), explanation)
    rails = find_packages(root)
    if device is not None and device.power is not None:
        rails.append(device.power)
    names = tuple(rail.name for rail in rails)
    if not names:
        return [], Total()
    return rails, Total(names, f"{' + '.join(names)}: what else the machine draws is not measured")


def _more_temperatures(device: NvmlDevice | None, service: Jtop | None) -> tuple[Probe, ...]:
    """Beside the kernel's zones, of which jtop's are the same."""
    probes = [device.temperature] if device and device.temperature else []
    return (*probes, *(service.temperatures() if service else []))


def _sample(probe: Probe | None, name: str, now_ns: int) -> Reading:
    return probe.sample(now_ns) if probe else Reading(name, None, "missing", "there is no such sensor")


def _or_note(found: T | str, notes: list[str]) -> T | None:
    if isinstance(found, str):
        notes.append(found)
        return None
    return found
