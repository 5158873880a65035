"""Nodes, constants and references into the store, put together as an ONNX model. Knows no decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from lineside_models.graph.external_data import ExternalData
from lineside_models.graph.store import WeightStore

_TYPES = {"F32": TensorProto.FLOAT, "U8": TensorProto.UINT8}
# Newest opset and the oldest file format that has it, for the oldest readers: TensorRT 8.6, onnxruntime 1.23.
_IR_VERSIONS = ((17, 8), (21, 10), (24, 12))


class OnnxGraph:
    """A graph under construction. Weights stay in the store's file: the model refers to their bytes.

    `opset` is that of the standard operators; `data` takes the large constants that the store does not have.
    """

    def __init__(self, store: WeightStore, opset: int, data: ExternalData | None = None) -> None:
        self.opset = opset
        self._store, self._data = store, data
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._inputs: dict[str, ValueInfoProto] = {}
        self._outputs: list[ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare an input of the model. The same name is declared once."""
        self._inputs.setdefault(name, helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare an output of the model; some node must produce it."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """A small tensor inside the model file. The same name is made once."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(values, name)
        return name

    def stored(
        self, tensor: str, name: str = "", shape: Sequence[int] | None = None, kind: int | None = None
    ) -> str:
        """A reference to a tensor of the store, under another name, shape and type of its bytes if given."""
        name = name or tensor
        if name in self._initializers:
            return name
        entry = self._store.file.entries[tensor]
        kind = kind or _TYPES[entry.dtype]
        proto = TensorProto(name=name, data_type=kind, data_location=TensorProto.EXTERNAL)
        proto.dims.extend(shape or entry.shape)
        place = {"location": self._store.file.path.name, "offset": entry.offset, "length": entry.size}
        for key, value in place.items():
            proto.external_data.add(key=key, value=str(value))
        self._initializers[name] = proto
        return name

    def external(self, name: str, values: NDArray[np.generic]) -> str:
        """A large constant, outside the model file. The same name is made once."""
        if name not in self._initializers:
            assert self._data, "this graph was given no file for large constants"
            self._initializers[name] = self._data.append(name, values)
        return name

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str] = (), domain: str = "", **attributes: Any
    ) -> str:
        """Append a node and return its first output's name."""
        label = f"{op}_{len(self._nodes)}"
        names = list(outputs) or [label]
        self._nodes.append(helper.make_node(op, inputs, names, name=label, domain=domain, **attributes))
        return names[0]

    def save(self, path: Path, name: str, domains: dict[str, int] | None = None) -> None:
        """Write the model file, beside the files that it refers to. `domains`: opsets beside the standard."""
        graph = helper.make_graph(
            self._nodes, name, list(self._inputs.values()), self._outputs, list(self._initializers.values())
        )
        opsets = {"": self.opset, **(domains or {})}
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        version = next(version for opset, version in _IR_VERSIONS if self.opset <= opset)
        model: ModelProto = helper.make_model(
            graph, opset_imports=imports, ir_version=version, producer_name="lineside-build"
        )
        path.write_bytes(model.SerializeToString(deterministic=True))
