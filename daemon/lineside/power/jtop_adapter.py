"""jetson-stats as a sensor, where the operator asks for it. Imported only then: it is under the AGPL.

Whoever may talk to its service is as good as root on the board (see docs/power.md): without it, the same
values come from the kernel.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

from lineside.power.readings import Probe

INTERVAL_S = 0.5
OFFLINE_C = -256
TOTAL = "jtop total"
# Values of so many of the service's intervals ago are the past.
LATE_INTERVALS = 3


class Jtop:
    """A connection to the service. `close` ends it."""

    def __init__(self) -> None:
        module = importlib.import_module("jtop")
        try:
            self._client: Any = module.jtop(interval=INTERVAL_S)
            self._client.start()
            self._client.ok()  # waits for the first values
        except module.JtopException as error:
            raise OSError(f"jtop: {error}") from None

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def rails(self) -> list[Probe]:
        """Every rail, and the service's own idea of the total, in milliwatts."""
        probes = [Probe(name, self._rail(name)) for name in self._client.power["rail"]]
        return [*probes, Probe(TOTAL, self._reader(lambda power: power["tot"]))]

    def temperatures(self) -> list[Probe]:
        """Every thermal zone, in degrees Celsius."""
        return [Probe(name, self._temperature(name)) for name in self._client.temperature]

    def _rail(self, name: str) -> Callable[[], float]:
        return self._reader(lambda power: power["rail"][name])

    def _reader(self, pick: Callable[[Any], Any]) -> Callable[[], float]:
        def read() -> float:
            self._check()
            return float(pick(self._client.power)["power"])

        return read

    def _temperature(self, name: str) -> Callable[[], float]:
        def read() -> float:
            self._check()
            celsius = float(self._client.temperature[name]["temp"])
            if celsius <= OFFLINE_C:
                raise ValueError("the zone is offline")
            return celsius

        return read

    def _check(self) -> None:
        """Raises OSError where what the client holds is the past: its service has gone or stands still."""
        try:
            alive = self._client.ok(spin=True)
        except Exception as error:  # noqa: BLE001 - whatever its thread has ended with, EOFError and others
            raise OSError(f"the jtop service has gone: {error}") from None
        if not alive:
            raise OSError("the jtop service has gone")
        # The service writes the machine's uptime beside its values.
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - self._client.uptime.total_seconds()
        if age_s > LATE_INTERVALS * max(self._client.interval, INTERVAL_S):
            raise OSError(f"the jtop service's values are {age_s:.0f} s old")


def connect_jtop() -> Jtop | str:
    """The service, or why it cannot be used."""
    try:
        return Jtop()
    except ImportError:
        return "jetson-stats is not installed: pip install 'lineside[jtop]'"
    except OSError as error:
        return str(error)
