"""NVML: a discrete GPU's power, temperature, load and clock, read only. Each call is probed alone.

On Orin NVML initialises and then supports next to nothing: that a call is there says nothing of the next.
The package nvidia-ml-py is optional; without it, or without a driver, there is no device.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lineside.power.readings import Probe

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NvmlDevice:
    """The first GPU: the probes that answered, and the reasons of those that did not."""

    name: str
    power: Probe | None
    temperature: Probe | None
    load: Probe | None
    clock: Probe | None
    unsupported: tuple[str, ...]


def find_nvml() -> NvmlDevice | str:
    """The first GPU, or why there is none."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return "nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError as error:
        return f"NVML: {error}"
    return _probe(nvml, handle)


def _probe(nvml: Any, handle: Any) -> NvmlDevice:
    missing: list[str] = []

    def tried(name: str, function: str, pick: Callable[[Any], float], *arguments: Any) -> Probe | None:
        call = _guarded(nvml, getattr(nvml, function), handle, *arguments)
        try:
            pick(call())
        except OSError as error:
            missing.append(f"{function}: {error}")
            return None
        return Probe(name, lambda: pick(call()))

    power = tried("GPU", "nvmlDeviceGetPowerUsage", float)
    temperature = tried("gpu", "nvmlDeviceGetTemperature", float, nvml.NVML_TEMPERATURE_GPU)
    load = tried("gpu_load", "nvmlDeviceGetUtilizationRates", lambda rates: rates.gpu / 100)
    clock = tried("gpu_hz", "nvmlDeviceGetClockInfo", lambda mhz: mhz * 1e6, nvml.NVML_CLOCK_GRAPHICS)
    name = str(_guarded(nvml, nvml.nvmlDeviceGetName, handle)())
    return NvmlDevice(name, power, temperature, load, clock, tuple(missing))


def _guarded(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """The call, whose errors are the ones that every probe knows."""

    def call() -> Any:
        try:
            return function(*arguments)
        except nvml.NVMLError as error:
            raise OSError(str(error)) from None

    return call
