"""The seam over TensorRT 8.6, 10, 11 and TensorRT for RTX: what the installed one offers, and one build.

Every difference is found by asking for the attribute, never by reading the version. Knows no model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lineside.engine.tensorrt_module import TensorRt
from lineside_models.errors import BuildError

_OPERATION = "build plan"
_OTHER = "try another --precision"
_LESS = "if it is short of memory, lower --max-batch, --max-seq-len, --opt-level or --workspace"
_NATIVE_LAYERS = ("add_attention", "add_kv_cache_update", "add_rotary_embedding")


class Offer(msgspec.Struct, frozen=True):
    """What a TensorRT can do. `targets`: compute capabilities beside that of the device at hand."""

    builder: str
    version: str
    strongly_typed: bool
    native: bool
    precisions: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def title(self) -> str:
        """Module and version."""
        return f"{self.builder} {self.version}"


class Job(msgspec.Struct, frozen=True):
    """One plan to build. `sm` empty: for the device at hand. `workspace_mb` 0, `level` -1: TensorRT's own."""

    onnx: str
    plan: str
    cache: str
    precision: str
    sm: str = ""
    workspace_mb: int = 0
    level: int = -1


class Workshop:
    """One builder and what it is asked for. It makes no context on a device before it builds."""

    def __init__(self, trt: TensorRt) -> None:
        self._trt = trt
        self._logger = trt.api.Logger(trt.api.Logger.ERROR)
        self._builder = trt.api.Builder(self._logger)
        self._timings: dict[str, Any] = {}

    def offer(self) -> Offer:
        """Ask the module what it has."""
        api, trt = self._trt.api, self._trt
        network = _network(api, self._builder)
        strongly_typed = hasattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
        precisions = ["fp16", "int8"]
        if strongly_typed:
            precisions += [kind.lower() for kind in ("FP8", "INT4") if hasattr(api.DataType, kind)]
        targets = [
            name.removeprefix("SM")
            for name in dir(getattr(api, "ComputeCapability", None))
            if name.startswith("SM")
        ]
        native = strongly_typed and all(hasattr(network, layer) for layer in _NATIVE_LAYERS)
        return Offer(trt.name, trt.version, strongly_typed, native, tuple(precisions), tuple(targets))

    def build(self, job: Job) -> None:
        """Write the plan, and the timing cache. Raises BuildError with what TensorRT said."""
        api, title = self._trt.api, f"{self._trt.name} {self._trt.version}"
        network = _network(api, self._builder)
        parser = api.OnnxParser(network, self._logger)
        if not parser.parse_from_file(job.onnx):
            errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
            raise BuildError(_OPERATION, f"{title} cannot read the graph: {errors}", _OTHER)
        config = self._builder.create_builder_config()
        _set_target(api, config, job.sm)
        _set_precision(api, config, network, job.precision)
        _use_own_kernels(api, config)
        if job.workspace_mb:
            config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, job.workspace_mb << 20)
        if job.level >= 0:
            config.builder_optimization_level = job.level
        timings = self._use_cache(config, job.cache)
        plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            raise BuildError(_OPERATION, f"{title} built nothing", _LESS)
        Path(job.plan).write_bytes(plan)
        if timings is not None:
            Path(job.cache).write_bytes(timings.serialize())

    def _use_cache(self, config: Any, cache: str) -> Any:
        """The timing cache of this file in use; the config only points to it. None where there is none.

        It is read once and kept: 8.6 cannot read back what it has written of fused regions, and times each
        plan anew. One of another device or version, or a damaged one, is refused by TensorRT: then a new one.
        """
        if not hasattr(config, "create_timing_cache"):
            return None
        if cache in self._timings:
            config.set_timing_cache(self._timings[cache], ignore_mismatch=False)
            return self._timings[cache]
        path = Path(cache)
        for content in (path.read_bytes() if path.is_file() else b"", b""):
            timings = config.create_timing_cache(content)
            if config.set_timing_cache(timings, ignore_mismatch=False):
                self._timings[cache] = timings
                return timings
        return None


def _network(api: Any, builder: Any) -> Any:
    """Strongly typed where there is such a thing; else (8.6) with the explicit batch that it then needs."""
    flags = api.NetworkDefinitionCreationFlag
    for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH"):
        if hasattr(flags, name):
            return builder.create_network(1 << int(getattr(flags, name)))
    return builder.create_network()


def _set_target(api: Any, config: Any, sm: str) -> None:
    if sm:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(api.ComputeCapability, f"SM{sm}"), 0)


def _set_precision(api: Any, config: Any, network: Any, precision: str) -> None:
    """Types are the graph's own, but where networks have none: there, flags allow others.

    What the graph computes in float32 (the residual stream, norms, probabilities) must then be held to it:
    squares of a residual stream overflow in FP16, and norms of infinite length are zero.
    """
    if hasattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return
    config.set_flag(api.BuilderFlag.FP16)
    if precision == "int8":
        config.set_flag(api.BuilderFlag.INT8)
    config.set_flag(api.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    held = [getattr(api.LayerType, name) for name in ("ELEMENTWISE", "REDUCE", "UNARY")]
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type in held and layer.get_output(0).dtype == api.float32:
            layer.precision = api.float32
            layer.set_output_type(0, api.float32)


def _use_own_kernels(api: Any, config: Any) -> None:
    """Nothing from cuBLAS and cuDNN, which newer releases have given up: the board need not load them."""
    sources = getattr(getattr(api, "TacticSource", None), "__members__", {})
    own = [source for name, source in sources.items() if not name.startswith(("CUBLAS", "CUDNN"))]
    if len(own) < len(sources):
        config.set_tactic_sources(sum(1 << int(source) for source in own))
