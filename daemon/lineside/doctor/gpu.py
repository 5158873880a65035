"""The CUDA driver and TensorRT, as far as they can be told without loading either's library for good."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from lineside.doctor.board import is_jetson
from lineside.doctor.bundle import manifest_of, tensorrt_version
from lineside.doctor.finding import Finding, State, finding
from lineside.doctor.machine import Machine
from lineside.engine.device import cuda_version, find_gpu
from lineside.engine.tensorrt_module import MODULES

SYSTEM = "make the environment with --system-site-packages: on a Jetson TensorRT comes with JetPack"


def look(machine: Machine) -> Iterator[Finding]:
    """Both; missing, they matter where they are wanted."""
    missing = _missing(machine)
    found = [name for name in MODULES if importlib.util.find_spec(name) is not None]
    if found:
        seen = ", ".join(f"{name} {tensorrt_version(name)}".strip() for name in found)
        yield finding("tensorrt.module", "ok", seen)
    else:
        yield finding("tensorrt.module", missing, "no TensorRT can be imported", SYSTEM)
    gpu = find_gpu()
    if gpu is None:
        todo = "lineside.service needs its drop-in jetson.conf; a PC needs NVIDIA's driver"
        yield finding("cuda.driver", missing, "the CUDA driver shows no GPU to this process", todo)
    else:
        cuda, driver = cuda_version(), (machine.read("sys/module/nvidia/version") or "")[:32]
        seen = f"{gpu.identity}, compute capability {gpu.sm[:-1]}.{gpu.sm[-1:]}, CUDA {cuda or 'unknown'}"
        values = {name: value for name, value in (("cuda", cuda), ("driver", driver)) if value}
        seen = f"{seen}, driver {driver}" if driver else seen  # on an Orin it has none of its own
        yield finding("cuda.driver", "ok", seen, "", **values)


def _missing(machine: Machine) -> State:
    """How bad it is to have none: asked for by name, wanted by the bundle's plans, or of no use here."""
    if machine.config.engine.name == "tensorrt":
        return "problem"
    manifest = manifest_of(machine.config)
    if manifest is not None and manifest.plan:
        return "warning"
    return "note" if is_jetson(machine) else "not_applicable"
