"""The GPU's clock cap as an actuator: only what the board's table has; what was there is put back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lineside.power.gpu import Gpu
from lineside.power.originals import OriginalsFile

log = logging.getLogger(__name__)

SetCap = Callable[[int], None]


def write_cap(gpu: Gpu, hz: int) -> None:
    """Cap the clock. Raises ValueError for what is not in the board's table, OSError for lack of rights."""
    if hz not in gpu.frequencies_hz:
        raise ValueError(f"{hz} Hz is not in {gpu.directory.name}'s table")
    gpu.max_freq.write_text(str(hz), "ascii")


@dataclass(slots=True)
class GpuCap:
    """Sets the cap. A failure is told once and ends its use: pacing still works."""

    gpu: Gpu
    file: OriginalsFile
    set_cap: SetCap
    trouble: str = field(default="", init=False)
    _set_hz: int | None = field(default=None, init=False)
    _top_hz: int | None = field(default=None, init=False)

    @property
    def frequencies_hz(self) -> tuple[int, ...]:
        """What can be chosen: no more than the cap that was there, nothing once setting has failed."""
        if self.trouble:
            return ()
        top = self._top_hz or self.file.read().hz or self.gpu.cap_hz()
        return tuple(hz for hz in self.gpu.frequencies_hz if hz <= top)

    @property
    def changed(self) -> bool:
        """Whether the cap is ours."""
        return self._set_hz is not None

    def apply(self, hz: int | None) -> None:
        """Set the cap where it differs from what was set last."""
        if hz is None or hz == self._set_hz or self.trouble:
            return
        try:
            if self._set_hz is None:
                now_hz = self.gpu.cap_hz()
                if hz == now_hz:
                    return
                self.file.keep_cap(self.gpu.max_freq, now_hz)
            self.set_cap(hz)
            self._set_hz = hz
        except (OSError, ValueError) as error:
            self.trouble = f"the GPU's clock cannot be capped ({error}): pacing alone holds the limit"
            log.warning("%s", self.trouble)

    def mode_changed(self) -> None:
        """A power mode brings its own cap: what it set is the most that may be chosen from now on."""
        self._set_hz, self._top_hz = None, self.gpu.cap_hz()

    def restore(self) -> None:
        """Put back what was there."""
        restore(self.gpu, self.file, self.set_cap)
        self._set_hz = self._top_hz = None


def restore(gpu: Gpu | None, file: OriginalsFile, set_cap: SetCap) -> str:
    """Put back what the file holds; says what was done, empty where there was nothing to do."""
    originals = file.read()
    if not originals.max_freq:
        return ""
    if gpu is None or gpu.max_freq != Path(originals.max_freq):
        file.forget_cap()
        return "the GPU that was capped is not there any more"
    try:
        set_cap(originals.hz)
    except (OSError, ValueError) as error:
        log.warning("the GPU's clock cap was not put back: %s", error)
        return f"the GPU's clock cap was not put back: {error}"
    file.forget_cap()
    return f"the GPU's clock cap is {originals.hz} Hz again"
