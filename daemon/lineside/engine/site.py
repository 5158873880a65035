"""What the TensorRT engine stands on, and whether it is here. Knows no plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineside.engine.bundle import Bundle, BundleError
from lineside.engine.device import Gpu, find_gpu
from lineside.engine.tensorrt_module import TensorRt, find_tensorrt

if TYPE_CHECKING:
    from lineside.engine.cuda import Device


@dataclass(frozen=True, slots=True)
class Site:
    """The GPU, TensorRT, and how to take hold of the device."""

    gpu: Gpu
    trt: TensorRt
    open_device: Callable[[], Device]


def find_site(bundle: Bundle) -> Site:
    """That of this machine. Raises BundleError naming what is missing."""
    trt = find_tensorrt(*{plan.builder for plan in bundle.manifest.plan})
    gpu = find_gpu()
    if gpu is None:
        raise BundleError(
            "load plans",
            "the CUDA driver shows no GPU",
            "see that the driver is there and that this user may use it (groups video and render)",
        )
    try:
        from lineside.engine.cuda import Device  # noqa: PLC0415  (only where there is a GPU)
    except ImportError as error:
        hint = "pip install 'lineside[tensorrt]', or 'lineside[rtx]' for an RTX card"
        raise BundleError("load plans", f"pycuda cannot be imported: {error}", hint) from error
    return Site(gpu, trt, Device)
