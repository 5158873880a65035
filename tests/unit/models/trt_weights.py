"""What a quantised graph really multiplies with, read back from its file by ONNX's own library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


class GraphWeights:
    """Values by the store's names, and the step of each quantised product's input."""

    def __init__(self, path: Path, store) -> None:
        graph = onnx.load(path).graph
        self._store = store
        self._constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        self._dequantised = {
            node.input[0].removesuffix(".stored"): self._dequantise(node)
            for node in graph.node
            if node.op_type == "DequantizeLinear" and node.input[0].endswith(".stored")
        }
        # TensorRT 8.6's are given as the values that rounding returns unchanged.
        self._dequantised |= {
            name.removesuffix(".values"): found.astype(np.float64)
            for name, found in self._constants.items()
            if name.endswith(".values")
        }
        self.steps = {
            name.removesuffix(".input.scale"): (float(scale), self._constants[name[:-5] + "zero"].dtype)
            for name, scale in self._constants.items()
            if name.endswith(".input.scale")
        }

    @property
    def quantised(self) -> set[str]:
        return set(self._dequantised)

    def _dequantise(self, node) -> np.ndarray:
        stored, scale = (self._constants[name] for name in node.input[:2])
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        stored, scale = stored.astype(np.float64), scale.astype(np.float64)
        if "block_size" in attributes:  # [columns, rows]
            return (stored * np.repeat(scale, attributes["block_size"], axis=0)).T
        return stored * (scale[:, None] if scale.ndim else scale)

    def values(self, name: str) -> np.ndarray:
        """As the store's, whatever form the graph has them in."""
        for found in (self._dequantised.get(name), self._constants.get(name)):
            if found is not None:
                return found
        return self._store.values(name)

    def embedding(self) -> np.ndarray:
        """What tokens are looked up in: never quantised, though the same matrix may be as the head."""
        return self._store.values("embed")

    def rounding(self, name: str, x: np.ndarray) -> np.ndarray:
        """What the graph does to a product's input; `name` is the first of the matrices in it."""
        fused = {"q_proj": "qkv", "gate_proj": "gate_up"}
        prefix, _, part = name.rpartition(".")
        matrix = f"{prefix}.{fused.get(part, part)}" if prefix else name
        if matrix not in self.steps and name == "head":
            matrix = "embed"
        if matrix not in self.steps:
            return x
        step, kind = self.steps[matrix]
        if kind == np.int8:
            return np.clip(np.rint(x / step), -128, 127) * step
        return np.clip(x / step, -448, 448).astype(np.float32).astype(kind).astype(np.float64) * step
