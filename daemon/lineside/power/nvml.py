"""NVML: a discrete GPU's power, energy, temperature, load, clock and power limit. Each call is probed alone.

On Orin NVML initialises and then supports next to nothing: that a call is there says nothing of the next.
The package nvidia-ml-py is optional; without it, or without a driver, there is no device.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lineside.power.readings import Probe

log = logging.getLogger(__name__)


GPU_RAIL = "GPU"
# What an NVML field holds, by its type; power comes as one of the first two.
FIELD_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal"}


@dataclass(frozen=True, slots=True)
class NvmlLimit:
    """The power limit that the driver itself keeps the GPU to, in milliwatts, and its bounds.

    `identity` is the GPU's UUID. `read` and `write` raise OSError; whether one may write shows only then.
    """

    identity: str
    least_mw: int
    most_mw: int
    read: Callable[[], int]
    write: Callable[[int], None]

    def watts(self) -> dict[str, float]:
        """The bounds, and what is set where that can be read."""
        found = {"least": self.least_mw / 1000, "most": self.most_mw / 1000}
        with contextlib.suppress(OSError):
            found["now"] = self.read() / 1000
        return found


@dataclass(frozen=True, slots=True)
class NvmlDevice:
    """The first GPU: the probes that answered, and the reasons of those that did not.

    Power in milliwatts, energy in joules since the driver was loaded.
    """

    name: str
    power: Probe | None
    energy: Probe | None
    temperature: Probe | None
    load: Probe | None
    clock: Probe | None
    limit: NvmlLimit | None
    unsupported: tuple[str, ...]


def find_nvml() -> NvmlDevice | str:
    """The first GPU, or why there is none."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return "nvidia-ml-py is not installed: pip install 'lineside[nvml]'"
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError as error:
        return f"NVML: {error}"
    return _probe(nvml, handle)


def _probe(nvml: Any, handle: Any) -> NvmlDevice:
    missing: list[str] = []

    def tried(name: str, function: str, pick: Callable[[Any], float], *arguments: Any) -> Probe | None:
        call = _guarded(nvml, function, handle, *arguments)
        try:
            pick(call())
        except OSError as error:
            missing.append(f"{function}: {error}")
            return None
        return Probe(name, lambda: pick(call()))

    instant = getattr(nvml, "NVML_FI_DEV_POWER_INSTANT", None)
    power = tried(GPU_RAIL, "nvmlDeviceGetFieldValues", _field, [instant]) if instant is not None else None
    # From Ampere on this is a mean over a second, which shows what pacing does too late.
    power = power or tried(GPU_RAIL, "nvmlDeviceGetPowerUsage", float)
    energy = tried("gpu_energy", "nvmlDeviceGetTotalEnergyConsumption", lambda mj: mj / 1e3)
    temperature = tried("gpu", "nvmlDeviceGetTemperature", float, nvml.NVML_TEMPERATURE_GPU)
    load = tried("gpu_load", "nvmlDeviceGetUtilizationRates", lambda rates: rates.gpu / 100)
    clock = tried("gpu_hz", "nvmlDeviceGetClockInfo", lambda mhz: mhz * 1e6, nvml.NVML_CLOCK_GRAPHICS)
    limit = _limit(nvml, handle, missing)
    name = str(_guarded(nvml, "nvmlDeviceGetName", handle)())
    return NvmlDevice(name, power, energy, temperature, load, clock, limit, tuple(missing))


def _limit(nvml: Any, handle: Any, missing: list[str]) -> NvmlLimit | None:
    """The limit, where the GPU tells it, its bounds, which are apart, and who it is."""
    read = _guarded(nvml, "nvmlDeviceGetPowerManagementLimit", handle)
    try:
        identity = str(_guarded(nvml, "nvmlDeviceGetUUID", handle)())
        least_mw, most_mw = _guarded(nvml, "nvmlDeviceGetPowerManagementLimitConstraints", handle)()
        read()
    except OSError as error:
        missing.append(f"power limit: {error}")
        return None
    if not 0 < least_mw < most_mw:
        missing.append(f"power limit: its bounds are {least_mw} to {most_mw} mW")
        return None

    def write(milliwatts: int) -> None:
        _guarded(nvml, "nvmlDeviceSetPowerManagementLimit", handle, milliwatts)()

    return NvmlLimit(identity, least_mw, most_mw, lambda: int(read()), write)


def _field(values: Any) -> float:
    """The one value asked for. Raises OSError where the GPU has none."""
    value = values[0]
    member = FIELD_MEMBERS.get(value.valueType)
    if value.nvmlReturn or member is None:
        raise OSError(f"the field cannot be read ({value.nvmlReturn})")
    return float(getattr(value.value, member))


def _guarded(nvml: Any, function: str, *arguments: Any) -> Callable[[], Any]:
    """The call, whose errors are the ones that every probe knows; an old binding may lack it."""

    def call() -> Any:
        try:
            return getattr(nvml, function)(*arguments)
        except (nvml.NVMLError, AttributeError) as error:
            raise OSError(str(error)) from None

    return call
