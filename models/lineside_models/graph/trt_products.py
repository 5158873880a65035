"""How a TensorRT graph reads and multiplies its matrices: here as they are, in FP16. Knows no decoder."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from typing_extensions import override

from lineside_models.errors import BuildError
from lineside_models.graph.dialect import Value
from lineside_models.graph.equalise import Equaliser
from lineside_models.graph.onnx_graph import OnnxGraph

WeightsAs = Literal["inputs", "constants"]
LARGEST_FP16 = 65504.0
_MATRICES = ("qkv", "o_proj", "gate_up", "down_proj")
_VECTORS = ("attn_norm", "mlp_norm", "q_norm", "k_norm", *(f"{matrix}.bias" for matrix in _MATRICES))


class Source(Protocol):
    """Where a lowering reads weights: the store, or the store with scales folded in."""

    def has(self, name: str) -> bool:
        """Whether there is a tensor of exactly this name, in float32."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape in values."""

    def values(self, name: str) -> NDArray[np.float32]:
        """The values that the target computes with."""


class ScaledSource(Source):
    """Another source's weights with an equaliser's scales folded in."""

    def __init__(self, source: Source, equaliser: Equaliser) -> None:
        self._source, self._equaliser = source, equaliser

    def has(self, name: str) -> bool:
        """As the source."""
        return self._source.has(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """As the source."""
        return self._source.shape(name)

    def values(self, name: str) -> NDArray[np.float32]:
        """The source's values, scaled."""
        return self._equaliser.scaled(name, self._source.values(name))


class Products(Protocol):
    """A precision's way to multiply. `narrowed`: TensorRT computes in FP16 what is float32 beside it."""

    narrowed: bool

    def table(self, name: str) -> Value:
        """A matrix in FP16, as it is."""

    def vector(self, name: str, kind: int) -> Value:
        """A norm or a bias in the type `kind`, [values] or [1, values]."""

    def product(self, x: Value, matrix: str) -> Value:
        """x [positions, columns] times the matrix [rows, columns] transposed, plus its bias if it has one."""


class Fp16Products(Products):
    """Matrices in FP16: inputs of the graph that every plan on a device shares, or constants."""

    narrowed = False

    def __init__(self, graph: OnnxGraph, source: Source, weights_as: WeightsAs) -> None:
        self._graph, self._source, self._as_inputs = graph, source, weights_as == "inputs"
        self._declared: set[str] = set()

    def table(self, name: str) -> Value:
        """The matrix as an input or constant, named `weights.` and its name in the store."""
        value = f"weights.{name}"
        if value not in self._declared:
            self._declared.add(value)
            if self._as_inputs:
                self._graph.input(value, TensorProto.FLOAT16, self._source.shape(name))
            else:
                self._graph.external(value, as_fp16(self._source, name))
        return value

    def vector(self, name: str, kind: int) -> Value:
        """A constant."""
        half = kind == TensorProto.FLOAT16
        return self._graph.constant(name, as_fp16(self._source, name) if half else self._source.values(name))

    def product(self, x: Value, matrix: str) -> Value:
        """One node, the bias included."""
        inputs = [x, self.table(matrix)]
        bias = f"{matrix}.bias"
        if self._source.has(bias):
            inputs.append(self.vector(bias, TensorProto.FLOAT16))
        return self._graph.node("Gemm", inputs, transB=1)


class LayerProducts(Fp16Products):
    """For a graph of any layer, written as layer 0: norms and biases are inputs, too, all joined in one.

    The input's name is `weights.` and theirs, with + between. TensorRT 8.6 turns all inputs of a graph that
    has many into float32 at every call: it did with 12, and did not with 10 (measured).

    `positions`: of the graph. What attends with one is the matrix times a column: TensorRT 8.6 then makes it
    in 3.7 microseconds of the 1.5B model's, with the sums before it, and as a row times the matrix in 9.6.
    """

    def __init__(self, graph: OnnxGraph, source: Source, positions: int) -> None:
        super().__init__(graph, source, "inputs")
        self._columns = ("layers.0.o_proj",) if positions == 1 else ()
        names = [f"layers.0.{vector}" for vector in _VECTORS if source.has(f"layers.0.{vector}")]
        sizes = [source.shape(name)[0] for name in names]
        joined = graph.input(f"weights.{'+'.join(names)}", TensorProto.FLOAT16, (1, sum(sizes)))
        split = graph.constant("vectors.sizes", np.array(sizes, np.int64))
        self._vectors = dict(zip(names, (f"{name}.part" for name in names), strict=True))
        graph.node("Split", [joined, split], list(self._vectors.values()), axis=1)

    @override
    def vector(self, name: str, kind: int) -> Value:
        part = self._vectors[name]
        return part if kind == TensorProto.FLOAT16 else self._graph.node("Cast", [part], to=kind)

    @override
    def product(self, x: Value, matrix: str) -> Value:
        if matrix in self._columns:
            y = self._column_product(x, matrix)
        else:
            y = self._graph.node("Gemm", [x, self.table(matrix)], transB=1)
        bias = f"{matrix}.bias"
        if bias not in self._vectors:
            return y
        return self._graph.node("Add", [y, self.vector(bias, TensorProto.FLOAT16)])

    def _column_product(self, x: Value, matrix: str) -> Value:
        rows, columns = self._source.shape(matrix)
        column, row = (
            self._graph.constant(f"{matrix}.{name}", np.array(sizes, np.int64))
            for name, sizes in (("column", (columns, 1)), ("row", (1, rows)))
        )
        y = self._graph.node("MatMul", [self.table(matrix), self._graph.node("Reshape", [x, column])])
        return self._graph.node("Reshape", [y, row])


def as_fp16(source: Source, name: str) -> NDArray[np.float16]:
    """The values in FP16. Raises BuildError where they do not fit."""
    values = source.values(name)
    largest = float(np.abs(values).max())
    if largest > LARGEST_FP16:
        message = f"{name} holds {largest:.0f}, beyond FP16's {LARGEST_FP16:.0f}"
        raise BuildError("lower for TensorRT", message, "serve this model through ONNX Runtime")
    return values.astype(np.float16)
