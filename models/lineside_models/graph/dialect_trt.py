"""What both TensorRT lowerings share: inputs, outputs, products, rows. Knows no norm and no attention.

Every shape is static and values are two-dimensional, [positions, width], so that no node computes a shape.
The residual stream is float32 and everything between two norms FP16.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from typing_extensions import override

from lineside_models.checkpoint import Architecture
from lineside_models.graph.dialect import PartDialect, Value, rotary_caches
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.trt_products import Products, Source
from lineside_models.graph.trt_shape import TrtShape

# What the residual stream is divided by between parts: single channels of some models come near FP16's end.
_UNIT = 16.0


class TrtDialect(PartDialect):
    """Inputs `input_ids`, `past_lens`, for a chunk `rows`; output `logits`, float32.

    Of a part: inputs `taken.high` and `taken.low`, outputs `handed.high` and `handed.low`, the residual
    stream as the sum of two FP16 numbers. TensorRT 8.6 gives all inputs of a fused region one type: a float32
    input would have it turn the whole cache into float32 at every step.
    """

    def __init__(
        self,
        architecture: Architecture,
        graph: OnnxGraph,
        source: Source,
        products: Products,
        shape: TrtShape,
    ) -> None:
        self._geometry, self._graph, self._source = architecture.geometry, graph, source
        self._products, self._shape = products, shape

    @override
    def embed(self, table: str) -> Value:
        self._graph.input("input_ids", TensorProto.INT32, (self._shape.batch, self._shape.tokens))
        ids = self._reshape("input_ids", self._shape.positions)
        return self._cast(self._graph.node("Gather", [self._products.table(table), ids]), TensorProto.FLOAT)

    @override
    def linear(self, x: Value, matrix: str) -> Value:
        return self._products.product(x, matrix)

    @override
    def gated_linear(self, x: Value, matrix: str) -> Value:
        half = self._source.shape(matrix)[0] // 2
        gate, up = self._split(self.linear(x, matrix), 1, half, half)
        silu = self._graph.node("Mul", [gate, self._graph.node("Sigmoid", [gate])])
        return self._graph.node("Mul", [silu, up])

    @override
    def add_norm(self, x: Value, update: Value, weight: str) -> tuple[Value, Value]:
        total = self._graph.node("Add", [x, self._cast(update, TensorProto.FLOAT)])
        return self.norm(total, weight), total

    @override
    def wanted_rows(self, x: Value) -> Value:
        if self._shape.role == "step":
            return x
        self._graph.input("rows", TensorProto.INT32, (self._shape.rows,))
        return self._graph.node("Gather", [x, "rows"])

    @override
    def logits(self, x: Value) -> None:
        self._graph.output("logits", TensorProto.FLOAT, (self._shape.rows, self._geometry.vocab_size))
        self._graph.node("Cast", [x], ["logits"], to=TensorProto.FLOAT)

    @override
    def taken_over(self) -> Value:
        size = (self._shape.positions, self._geometry.hidden)
        halves = [self._graph.input(f"taken.{half}", TensorProto.FLOAT16, size) for half in ("high", "low")]
        high, low = (self._cast(half, TensorProto.FLOAT) for half in halves)
        return self._graph.node("Mul", [self._graph.node("Add", [high, low]), self._residual_scale(_UNIT)])

    @override
    def hand_over(self, x: Value, update: Value | None) -> None:
        node, size = self._graph.node, (self._shape.positions, self._geometry.hidden)
        if update is not None:
            x = node("Add", [x, self._cast(update, TensorProto.FLOAT)])
        scaled = node("Mul", [x, self._residual_scale(1 / _UNIT)])
        for half in ("high", "low"):
            self._graph.output(f"handed.{half}", TensorProto.FLOAT16, size)
        node("Cast", [scaled], ["handed.high"], to=TensorProto.FLOAT16)
        rest = node("Sub", [scaled, self._cast("handed.high", TensorProto.FLOAT)])
        node("Cast", [rest], ["handed.low"], to=TensorProto.FLOAT16)

    def _residual_scale(self, value: float) -> Value:
        return self._graph.constant(f"residual.{value:g}", np.array(value, np.float32))

    def _normed_heads(self, layer: int) -> bool:
        return self._source.has(f"layers.{layer}.q_norm")

    def _past_lens(self) -> Value:
        """[batch]: how many tokens of each sequence are cached."""
        return self._graph.input("past_lens", TensorProto.INT32, (self._shape.batch,))

    def _positions(self) -> Value:
        """[batch, tokens]: each token's place in its sequence."""
        iota = self._graph.constant("tokens.iota", np.arange(self._shape.tokens, dtype=np.int32)[None])
        return self._graph.node("Add", [self._reshape(self._past_lens(), self._shape.batch, 1), iota])

    def _rotary_tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and sines for every position that a call can reach, in FP16."""
        cos, sin = rotary_caches(self._geometry, self._shape.max_seq_len + self._shape.tokens)
        return cos.astype(np.float16), sin.astype(np.float16)

    def _heads_first(self, x: Value, heads: int) -> Value:
        """[positions, heads * head_dim] as [batch, heads, tokens, head_dim]."""
        batch, tokens, size = self._shape.batch, self._shape.tokens, self._geometry.head_dim
        if tokens == 1:
            return self._reshape(x, batch, heads, 1, size)
        return self._graph.node(
            "Transpose", [self._reshape(x, batch, tokens, heads, size)], perm=[0, 2, 1, 3]
        )

    def _heads_last(self, x: Value) -> Value:
        """[batch, heads, tokens, head_dim] as [positions, heads * head_dim]."""
        g, shape = self._geometry, self._shape
        if shape.tokens > 1:
            x = self._graph.node("Transpose", [x], perm=[0, 2, 1, 3])
        return self._reshape(x, shape.positions, g.heads * g.head_dim)

    def _cast(self, x: Value, kind: int) -> Value:
        return self._graph.node("Cast", [x], to=kind)

    def _reshape(self, x: Value, *shape: int) -> Value:
        return self._graph.node("Reshape", [x, self._sizes(*shape)])

    def _split(self, x: Value, axis: int, *sizes: int) -> list[Value]:
        outputs = [f"{x}.part{index}" for index in range(len(sizes))]
        self._graph.node("Split", [x, self._sizes(*sizes)], outputs, axis=axis)
        return outputs

    def _sizes(self, *values: int) -> Value:
        return self._graph.constant("sizes." + ".".join(map(str, values)), np.array(values, np.int64))
