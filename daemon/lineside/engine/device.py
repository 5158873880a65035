"""The GPU of this machine, asked of the CUDA driver itself. Knows no framework and makes no context."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_DRIVER = "libcuda.so.1"
_MAJOR, _MINOR, _MULTIPROCESSORS, _INTEGRATED = 75, 76, 16, 18  # CUdevice_attribute
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """`sm`: compute capability without its dot, such as 87. `integrated`: it shares the host's memory."""

    name: str
    sm: str
    multiprocessors: int
    memory_bytes: int
    integrated: bool

    @property
    def identity(self) -> str:
        """What a plan is tied to: boards of one name differ in their number of multiprocessors."""
        return f"{self.name}, {self.multiprocessors} multiprocessors"


def find_gpu(driver: str = _DRIVER) -> Gpu | None:
    """The first GPU that the driver shows to this process; None where there is no driver or no GPU."""
    try:
        cuda = ctypes.CDLL(driver)
        count, device = ctypes.c_int(), ctypes.c_int()
        if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
            return None
        if cuda.cuDeviceGet(ctypes.byref(device), 0):
            return None
        return _describe(cuda, device)
    except (OSError, AttributeError):
        return None


def cuda_version(driver: str = _DRIVER) -> str:
    """The newest CUDA that the driver knows, such as 12.6; empty where there is no driver."""
    try:
        version = ctypes.c_int()
        if ctypes.CDLL(driver).cuDriverGetVersion(ctypes.byref(version)):
            return ""
    except (OSError, AttributeError):
        return ""
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _describe(cuda: ctypes.CDLL, device: ctypes.c_int) -> Gpu:
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    cuda.cuDeviceGetName(name, _NAME_BYTES, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    return Gpu(
        name=name.value.decode("utf-8", "replace"),
        sm=f"{attribute(_MAJOR)}{attribute(_MINOR)}",
        multiprocessors=attribute(_MULTIPROCESSORS),
        memory_bytes=memory.value,
        integrated=bool(attribute(_INTEGRATED)),
    )
