"""The integrated GPU's clock and load through devfreq. Knows no policy; writes are the actuators'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lineside.power.readings import Probe, read_number, text_or

# JetPack 6 and 5 on Orin, Xavier, and Thor, whose GPC is the part that computes.
NAMES = ("*.gpu", "*.ga10b", "*.gv11b", "gpu-gpc-0")
LOADS = (
    "sys/devices/platform/gpu.0/load",
    "sys/devices/platform/bus@0/*.gpu/load",
    "sys/devices/platform/*.gpu/load",
    "sys/devices/platform/*.ga10b/load",
    "sys/devices/platform/*.gv11b/load",
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU's devfreq directory and the frequencies that it offers, ascending, in hertz."""

    directory: Path
    frequencies_hz: tuple[int, ...]

    @property
    def max_freq(self) -> Path:
        """The file that caps the clock."""
        return self.directory / "max_freq"

    def cap_hz(self) -> int:
        """The cap as it is now. Raises OSError or ValueError."""
        return int(read_number(self.max_freq))

    def clock(self) -> Probe:
        """The clock as it is now, in hertz."""
        path = self.directory / "cur_freq"
        return Probe("gpu_hz", lambda: read_number(path))


def find_gpu(root: Path) -> Gpu | None:
    """The GPU, where there is one with a table of frequencies."""
    for name in NAMES:
        for directory in sorted(root.glob(f"sys/class/devfreq/{name}")):
            table = text_or(directory / "available_frequencies").split()
            frequencies = sorted({int(word) for word in table if word.isdigit()})
            if frequencies:
                return Gpu(directory, tuple(frequencies))
    return None


def find_gpu_load(root: Path) -> Probe | None:
    """How busy the GPU is, 0 to 1."""
    for pattern in LOADS:
        for path in sorted(root.glob(pattern)):
            return _load(path)
    return None


def _load(path: Path) -> Probe:
    return Probe("gpu_load", lambda: read_number(path, 1e-3))  # per mille
