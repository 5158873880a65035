# ruff: noqa: N802 - the names are the package's
"""What the package nvidia-ml-py offers, as an object in its place: one GPU, without a driver or a card."""

from __future__ import annotations

from types import SimpleNamespace

REST_MW = 50_000


class NVMLError(Exception):
    """As the package's."""


class FakeNvml:
    """A GPU that draws `draws_mw` at work, never more than its limit, and 50 W between steps.

    `duty` is the share of time at work; `refused` names calls that do not work.
    """

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_GRAPHICS = 0
    NVML_FI_DEV_POWER_INSTANT = 186

    def __init__(self, refused: tuple[str, ...] = (), bounds: tuple[int, int] = (200_000, 700_000)) -> None:
        self.refused, self.bounds = refused, bounds
        self.draws_mw, self.limit_mw, self.uuid, self.name = 250_000.0, 700_000, "GPU-1", "Fake GPU"
        self.set_to: list[int] = []
        self.duty = 1.0

    def __getattribute__(self, name: str) -> object:
        if name.startswith("nvml") and name in object.__getattribute__(self, "refused"):
            return _refuse
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByIndex(self, _index: int) -> str:
        return "handle"

    def nvmlDeviceGetName(self, _handle: str) -> str:
        return self.name

    def nvmlDeviceGetUUID(self, _handle: str) -> str:
        return self.uuid

    def nvmlDeviceGetFieldValues(self, _handle: str, fields: list[int]) -> list[SimpleNamespace]:
        at_work_mw = min(self.draws_mw, self.limit_mw)
        value = SimpleNamespace(uiVal=round(REST_MW + (at_work_mw - REST_MW) * self.duty))
        return [SimpleNamespace(nvmlReturn=0, valueType=1, value=value) for _ in fields]

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:
        return 111_000

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: str) -> int:
        return 5000

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:
        return 50

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=80)

    def nvmlDeviceGetClockInfo(self, _handle: str, _clock: int) -> int:
        return 1980

    def nvmlDeviceGetPowerManagementLimit(self, _handle: str) -> int:
        return self.limit_mw

    def nvmlDeviceGetPowerManagementLimitConstraints(self, _handle: str) -> list[int]:
        return list(self.bounds)

    def nvmlDeviceSetPowerManagementLimit(self, _handle: str, milliwatts: int) -> None:
        self.set_to.append(milliwatts)
        self.limit_mw = milliwatts


def _refuse(*_: object) -> None:
    raise NVMLError("Not Supported")
