"""TensorRT for RTX's builder, which parses and builds on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import tensorrt_rtx as trt

_LOGGER = trt.Logger(trt.Logger.ERROR)


def build_plan(model: Path, *compute_capabilities: str) -> int:
    """Bytes of the plan that the real builder makes of a graph, for all of these devices at once.

    Raises AssertionError with what it said.
    """
    builder = trt.Builder(_LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, _LOGGER)
    parsed = parser.parse_from_file(str(model))
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(compute_capabilities)
    for index, name in enumerate(compute_capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, f"the builder gave no plan for {model.name} on {compute_capabilities}"
    return plan.nbytes
