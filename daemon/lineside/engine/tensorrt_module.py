"""Which TensorRT this machine has: `tensorrt` (8.6, 10, 11) or `tensorrt_rtx`, one interface under two names.

Knows nothing of plans and networks.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from lineside.engine.bundle import BundleError

MODULES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, slots=True)
class TensorRt:
    """An imported module. `version` tells plans apart; nothing is decided by what it says."""

    name: str
    version: str
    api: Any


def find_tensorrt(*names: str) -> TensorRt:
    """The first of the modules `names` (default: every one) that can be imported. Raises BundleError."""
    problems = []
    for name in names or MODULES:
        found = _import(name)
        if isinstance(found, TensorRt):
            return found
        problems.append(f"{name}: {found}")
    hint = (
        "on a Jetson it comes with JetPack: make the environment with --system-site-packages;"
        " for an RTX card: pip install 'lineside[rtx]'"
    )
    raise BundleError("find TensorRT", f"no TensorRT can be imported ({'; '.join(problems)})", hint)


def _import(name: str) -> TensorRt | str:
    """The module, or why not: it is missing, lacks its libraries, or is half removed."""
    try:
        api = importlib.import_module(name)
        return TensorRt(name, str(api.__version__), api)
    except (ImportError, OSError, AttributeError) as error:
        return str(error)
