"""Norm, rotary embedding, cache and attention as operators of their own (opset 24). Knows no precision.

For a TensorRT whose parser has them (10.15 and later). The cache is written in place: bind the outputs
`present.{layer}.key` and `.value` to the memory of the inputs `cache.{layer}.key` and `.value`. Writes stay
inside the cache only while `past_lens` + tokens is at most max_seq_len.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from typing_extensions import override

from lineside_models.checkpoint import Architecture
from lineside_models.graph.dialect import Value
from lineside_models.graph.dialect_trt import TrtDialect
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.trt_products import Products, Source
from lineside_models.graph.trt_shape import TrtShape


class TrtNativeDialect(TrtDialect):
    """Writes the decoder with opset 24."""

    def __init__(
        self,
        architecture: Architecture,
        graph: OnnxGraph,
        source: Source,
        products: Products,
        shape: TrtShape,
    ) -> None:
        super().__init__(architecture, graph, source, products, shape)
        self._positions_of_new = self._positions()
        self._places = self._cast(self._positions_of_new, TensorProto.INT64)
        self._write_from = self._cast(self._past_lens(), TensorProto.INT64)
        self._mask = self._mask_of_cache()
        cos, sin = self._rotary_tables()
        self._cos, self._sin = graph.constant("rotary.cos", cos), graph.constant("rotary.sin", sin)

    @override
    def norm(self, x: Value, weight: str) -> Value:
        inputs = [x, self._graph.constant(weight, self._source.values(weight))]
        eps = self._geometry.norm_eps
        normed = self._graph.node("RMSNormalization", inputs, axis=-1, epsilon=eps)
        return self._cast(normed, TensorProto.FLOAT16)

    @override
    def attend(self, qkv: Value, layer: int) -> Value:
        g, node = self._geometry, self._graph.node
        heads = self._heads_first(qkv, g.heads + 2 * g.kv_heads)
        both, value = self._split(heads, 1, g.heads + g.kv_heads, g.kv_heads)
        if self._normed_heads(layer):
            parts = zip(self._split(both, 1, g.heads, g.kv_heads), ("q_norm", "k_norm"), strict=True)
            normed = [
                self.norm(self._cast(part, TensorProto.FLOAT), f"layers.{layer}.{name}")
                for part, name in parts
            ]
            both = node("Concat", normed, axis=1)
        turned = node("RotaryEmbedding", [both, self._cos, self._sin, self._places])
        query, key = self._split(turned, 1, g.heads, g.kv_heads)
        caches = [self._kept(f"{layer}.key", key), self._kept(f"{layer}.value", value)]
        return self._heads_last(node("Attention", [query, *caches, self._mask]))

    def _kept(self, name: str, new: Value) -> Value:
        """The whole cache with the new tokens written."""
        g, shape = self._geometry, self._shape
        sizes = (shape.batch, g.kv_heads, shape.max_seq_len, g.head_dim)
        past = self._graph.input(f"cache.{name}", TensorProto.FLOAT16, sizes)
        present = self._graph.output(f"present.{name}", TensorProto.FLOAT16, sizes)
        return self._graph.node("TensorScatter", [past, new, self._write_from], [present], axis=2)

    def _mask_of_cache(self) -> Value:
        """What each new token sees, [batch, 1, tokens, max_seq_len]."""
        shape = self._shape
        iota = np.arange(shape.max_seq_len, dtype=np.int32).reshape(1, 1, 1, -1)
        queries = self._reshape(self._positions_of_new, shape.batch, 1, shape.tokens, 1)
        return self._graph.node("LessOrEqual", [self._graph.constant("cache.iota", iota), queries])
