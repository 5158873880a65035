"""A discrete GPU's power limit as an actuator: within NVML's bounds for it; what was there is put back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside.power.nvml import NvmlLimit
from lineside.power.originals import OriginalsFile

log = logging.getLogger(__name__)

SetLimit = Callable[[int], None]


def write_limit(limit: NvmlLimit, milliwatts: int) -> None:
    """Have the driver keep the GPU to it. Raises ValueError out of its bounds, OSError for lack of rights."""
    if not limit.least_mw <= milliwatts <= limit.most_mw:
        raise ValueError(
            f"{milliwatts} mW is out of this GPU's bounds, {limit.least_mw} to {limit.most_mw} mW"
        )
    limit.write(milliwatts)


@dataclass(slots=True)
class GpuLimit:
    """Sets the limit. A failure is told once and ends its use: pacing still works."""

    limit: NvmlLimit
    file: OriginalsFile
    set_limit: SetLimit
    trouble: str = field(default="", init=False)
    top_mw: int = field(default=0, init=False)
    _set_mw: int | None = field(default=None, init=False)

    @property
    def set_mw(self) -> int | None:
        """What we have set; None: what was there holds."""
        return self._set_mw

    def __post_init__(self) -> None:
        originals = self.file.read()
        try:
            kept = originals.gpu == self.limit.identity
            self.top_mw = originals.gpu_limit_mw if kept else self.limit.read()
        except OSError as error:
            self._give_up(error)

    def apply(self, milliwatts: int | None) -> None:
        """Set no more than what was there before; None: put that back."""
        if self.trouble or milliwatts == self._set_mw:
            return
        if milliwatts is None:
            self.restore()
            return
        if self._set_mw is None and milliwatts >= self.top_mw:
            return
        try:
            if self._set_mw is None:
                self.file.keep_limit(self.limit.identity, self.top_mw)
            self.set_limit(min(milliwatts, self.top_mw))
            self._set_mw = milliwatts
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"the GPU's power limit cannot be set ({error}): pacing alone holds the limit"
        log.warning("%s", self.trouble)

    def restore(self) -> None:
        """Put back what was there."""
        restore_limit(self.limit, self.file, self.set_limit)
        self._set_mw = None


def restore_limit(limit: NvmlLimit | None, file: OriginalsFile, set_limit: SetLimit) -> str:
    """Put back what the file holds; says what was done, empty where there was nothing to do."""
    originals = file.read()
    if not originals.gpu:
        return ""
    if limit is None or limit.identity != originals.gpu:
        file.forget_limit()
        return "the GPU whose power was limited is not there any more"
    try:
        if limit.read() != originals.gpu_limit_mw:
            set_limit(originals.gpu_limit_mw)
    except (OSError, ValueError) as error:
        log.warning("the GPU's power limit was not put back: %s", error)
        return f"the GPU's power limit was not put back: {error}"
    file.forget_limit()
    return f"the GPU's power limit is {originals.gpu_limit_mw / 1000:g} W again"
