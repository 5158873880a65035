"""What the governor acts with beside pacing: a board's power mode and GPU clock, or a card's power limit."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from lineside.power.gpu_cap import GpuCap
from lineside.power.gpu_limit import GpuLimit
from lineside.power.power_mode import PowerMode


@dataclass(slots=True)
class Actuators:
    """Used by the governor's thread; `restore` by any, after which nothing is set any more."""

    cap: GpuCap | None = None
    mode: PowerMode | None = None
    gpu_limit: GpuLimit | None = None
    _restored: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def frequencies_hz(self) -> tuple[int, ...]:
        """What the clock can be capped to; empty: it cannot."""
        return self.cap.frequencies_hz if self.cap else ()

    @property
    def cap_failed(self) -> bool:
        """Whether the clock cannot be capped any more."""
        return self.cap is not None and bool(self.cap.trouble)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What could not be set, and why."""
        parts = (self.mode, self.cap, self.gpu_limit)
        return tuple(part.trouble for part in parts if part is not None and part.trouble)

    def set_mode(self, wanted: str) -> bool:
        """Have the board take the mode. Whether it is in another one now, with other clocks."""
        with self._lock:
            if self._restored or self.mode is None or not self.mode.apply(wanted):
                return False
            if self.cap is not None and wanted:
                self.cap.mode_changed()
            elif self.cap is not None:
                self.cap.restore()
            return True

    def cap_clock(self, hz: int | None, limited: bool) -> None:
        """Set the cap; without a limit only one that is ours already."""
        with self._lock:
            if not self._restored and self.cap is not None and (limited or self.cap.changed):
                self.cap.apply(hz)

    def limit_gpu(self, milliwatts: int | None) -> None:
        """Set the GPU's power limit; None: as it was."""
        with self._lock:
            if not self._restored and self.gpu_limit is not None:
                self.gpu_limit.apply(milliwatts)

    def restore(self) -> None:
        """Put back what was there, the mode first: it brings a cap of its own."""
        with self._lock:
            self._restored = True
            if self.mode is not None:
                self.mode.restore()
            if self.cap is not None:
                self.cap.restore()
            if self.gpu_limit is not None:
                self.gpu_limit.restore()
