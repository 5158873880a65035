"""Which engine serves a bundle here, and why. Knows how engines are opened, not what they do.

A line is never left without answers: what cannot be opened is passed over with its reason, and where nothing
can be, the rules answer alone. An engine that nobody asked for and that is not there is no trouble.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from lineside.config import EngineConfig
from lineside.engine.base import Engine
from lineside.engine.bundle import ONNX_CUDA_MODEL, Bundle, BundleError
from lineside.engine.cache_room import FLOAT_BYTES, HALF_BYTES, room_for
from lineside.engine.device import find_gpu
from lineside.errors import LinesideError

log = logging.getLogger(__name__)

RULES = "rules"
ORDER = ("tensorrt", "onnxruntime-cuda", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Choice:
    """`engine` None: the rules alone. `problems` are those of engines that were tried, by name."""

    engine: Engine | None
    name: str
    reason: str
    problems: dict[str, str]

    @property
    def trouble(self) -> str:
        """What an operator should mend; empty where this is what was wanted."""
        if not self.problems:
            return ""
        told = "; ".join(f"{name}: {problem}" for name, problem in self.problems.items())
        return f"served by {self.name}, because {told}"


def choose(bundle: Bundle, config: EngineConfig, tried: dict[str, str] | None = None) -> Choice:
    """Open the best engine that can be, without those in `tried`, which have failed since."""
    if config.name == RULES:
        return Choice(None, RULES, "as configured", {})
    problems = dict(tried or {})
    absent: dict[str, str] = {}
    for name in _order(config):
        if name in problems:
            continue
        if why := _ABSENT[name](bundle):
            (problems if name == config.name else absent)[name] = why
            continue
        opened = _open(name, bundle, config)
        if not isinstance(opened, str):
            return Choice(opened, name, _reason(name, config.name, absent, problems), problems)
        problems[name] = opened
    return Choice(None, RULES, _reason(RULES, config.name, absent, problems), problems)


def foreseen(bundle: Bundle, config: EngineConfig) -> str:
    """The name of the engine that `choose` tries first, where it is not to be the rules. Opens none."""
    return next(name for name in _order(config) if not _ABSENT[name](bundle))


def warmed_up(bundle: Bundle, config: EngineConfig, choice: Choice) -> Choice:
    """The choice with its engine measured; where that fails, the next one."""
    while choice.engine is not None:
        problem = _attempt(choice.name, choice.engine.warm_up)
        if not isinstance(problem, str):
            return choice
        _attempt(choice.name, choice.engine.close)
        choice = choose(bundle, config, {**choice.problems, choice.name: problem})
    return choice


def _order(config: EngineConfig) -> tuple[str, ...]:
    return ORDER if config.name == "auto" else ORDER[ORDER.index(config.name) :]


def _reason(name: str, asked: str, absent: dict[str, str], problems: dict[str, str]) -> str:
    passed = [f"no {other}: {why}" for other, why in (absent | problems).items()]
    if name == asked:
        return "as configured"
    return "; ".join(passed) or "the first choice"


def _open(name: str, bundle: Bundle, config: EngineConfig) -> Engine | str:
    opened = _attempt(name, lambda: _OPEN[name](bundle, config))
    return opened if isinstance(opened, str) else cast("Engine", opened)


def _attempt(name: str, act: Callable[[], object]) -> object | str:
    """What `act` returns, or why it failed. Drivers and runtimes raise classes of their own."""
    try:
        return act()
    except LinesideError as error:
        log.warning("engine %s: %s", name, error)
        return f"{error.message} ({error.hint})" if error.hint else error.message
    except Exception as error:
        log.exception("engine %s cannot be used", name)
        return f"{type(error).__name__}: {error}"


def _no_plans(bundle: Bundle) -> str:
    return "" if bundle.manifest.plan else "the bundle has no plan; lineside-build compile makes them"


def _no_cuda(bundle: Bundle) -> str:
    try:
        from lineside.engine.ort_session import has_cuda  # noqa: PLC0415  (rules alone need no onnxruntime)
    except ImportError as error:
        return f"onnxruntime is not installed: {error}"
    if not has_cuda():
        return "this onnxruntime has no CUDA provider"
    if find_gpu() is None:
        return "the CUDA driver shows no GPU"
    if ONNX_CUDA_MODEL not in bundle.manifest.files:
        return f"the bundle has no {ONNX_CUDA_MODEL}; an older version built it"
    return ""


def _open_tensorrt(bundle: Bundle, config: EngineConfig) -> Engine:
    try:
        module = importlib.import_module("lineside.engine.tensorrt")
    except ImportError as error:
        hint = "pip install 'lineside[tensorrt]', or 'lineside[rtx]' for an RTX card"
        raise LinesideError("load engine", f"TensorRT is not installed: {error}", hint) from error
    room = room_for(bundle.manifest, config, HALF_BYTES)
    engine: Engine = module.TensorRtEngine(
        bundle,
        slots=room.slots,
        max_chunk_tokens=config.max_chunk_tokens,
        kept_slots=room.kept_slots,
    )
    try:
        room.check(bundle, engine.capabilities.cache_bytes)
    except BundleError:
        engine.close()
        raise
    return engine


def _open_onnxruntime(provider: str) -> Callable[[Bundle, EngineConfig], Engine]:
    def opened(bundle: Bundle, config: EngineConfig) -> Engine:
        from lineside.engine.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415

        # Host memory alone is taken as it is written: on a device every slot takes all of its own.
        on_device = provider == "cuda"
        item_bytes, entries = (HALF_BYTES, 0) if on_device else (FLOAT_BYTES, config.kept_entries)
        room = room_for(bundle.manifest, config, item_bytes, entries)
        return OnnxRuntimeEngine(
            bundle,
            slots=room.slots,
            threads=config.threads or len(os.sched_getaffinity(0)),
            max_chunk_tokens=config.max_chunk_tokens,
            provider=provider,
            kept_slots=room.kept_slots,
            lasting_slots=room.lasting_slots,
        )

    return opened


_ABSENT: dict[str, Callable[[Bundle], str]] = {
    "tensorrt": _no_plans,
    "onnxruntime-cuda": _no_cuda,
    "onnxruntime": lambda _: "",
}
_OPEN: dict[str, Callable[[Bundle, EngineConfig], Engine]] = {
    "tensorrt": _open_tensorrt,
    "onnxruntime-cuda": _open_onnxruntime("cuda"),
    "onnxruntime": _open_onnxruntime("cpu"),
}
