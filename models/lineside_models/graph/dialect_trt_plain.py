"""Norm and attention in plain operations, for every TensorRT from 8.6 on. Knows no precision.

The cache is only read: each call gives its own keys and values as outputs, `new.{layer}.key` and `.value`,
and whoever runs the graph appends them. Nothing is scattered, so a decoder layer can become one fused region.
Cached positions at `past_lens` and beyond count for nothing, but must hold finite numbers. Cached keys stand
head_dim first, [batch, kv_heads, head_dim, max_seq_len], as the product with queries wants them: otherwise
every step turns the whole cache over.
"""

from __future__ import annotations

import functools

import numpy as np
from onnx import TensorProto
from typing_extensions import override

from lineside_models.graph.dialect import Value
from lineside_models.graph.dialect_trt import TrtDialect

_MASKED = -60000.0  # what FP16 can hold, and far below any score
_TINY = 1e-3  # a stream of zeros is divided by it; what it adds goes out again
_REDUCE_AXES_ARE_INPUTS = 18  # opset


class TrtPlainDialect(TrtDialect):
    """Writes the decoder, or a part of it, with opset 17 or later."""

    @override
    def norm(self, x: Value, weight: str) -> Value:
        return self._normed(x, self._products.vector(weight, TensorProto.FLOAT), axis=1)

    def _normed(self, x: Value, weight: Value, axis: int) -> Value:
        node, norm_eps = self._graph.node, self._geometry.norm_eps
        eps = self._graph.constant("norm_eps", np.array(norm_eps, np.float32))
        if self._products.narrowed:
            # The same of x over its largest value: nothing in between is large, or so small that it counts.
            tiny = self._graph.constant("norm_tiny", np.array(_TINY, np.float32))
            largest = node("Add", [self._reduced("ReduceMax", node("Abs", [x]), axis), tiny])
            root_eps = self._graph.constant("norm_root_eps", np.array(norm_eps**0.5, np.float32))
            x, share = node("Div", [x, largest]), node("Div", [root_eps, largest])
            eps = node("Mul", [share, share])
        mean = self._reduced("ReduceMean", node("Mul", [x, x]), axis)
        root = node("Sqrt", [node("Add", [mean, eps])])
        return self._cast(node("Mul", [node("Div", [x, root]), weight]), TensorProto.FLOAT16)

    def _reduced(self, op: str, x: Value, axis: int) -> Value:
        if self._graph.opset < _REDUCE_AXES_ARE_INPUTS:
            return self._graph.node(op, [x], axes=[axis])
        return self._graph.node(op, [x, self._sizes(axis)])

    def _heads_normed(self, both: Value, layer: int) -> Value:
        """Queries and keys, each head by its own norm, in one go."""
        g = self._geometry
        query, key = (
            self._products.vector(f"layers.{layer}.{part}_norm", TensorProto.FLOAT) for part in "qk"
        )
        stacked = self._graph.node("Concat", [query] * g.heads + [key] * g.kv_heads, axis=-1)
        weight = self._reshape(stacked, 1, g.heads + g.kv_heads, 1, g.head_dim)
        return self._normed(self._cast(both, TensorProto.FLOAT), weight, axis=3)

    @override
    def attend(self, qkv: Value, layer: int) -> Value:
        g, shape, node = self._geometry, self._shape, self._graph.node
        cached_keys, cached_values = self._cache_inputs(layer)
        query, key, value = self._rotated(qkv, layer)
        query = self._reshape(
            node("Mul", [query, self._graph.constant("scale", np.array(g.head_dim**-0.5, np.float16))]),
            *(shape.batch, g.kv_heads, g.heads // g.kv_heads * shape.tokens, g.head_dim),
        )
        on_cache = node("Add", [node("MatMul", [query, cached_keys]), self._cached_mask])
        on_new = self._scores_of_new_tokens(query, key)
        weights = node("Softmax", [node("Concat", [on_cache, on_new], axis=3)], axis=3)
        past, new = self._split(weights, 3, shape.max_seq_len, shape.tokens)
        # One token's weight and value multiply by element, which fuses; a product would be a kernel.
        new_product = node("Mul" if shape.tokens == 1 else "MatMul", [new, value])
        attended = node("Add", [node("MatMul", [past, cached_values]), new_product])
        if shape.tokens > 1:
            attended = self._reshape(attended, shape.batch, g.heads, shape.tokens, g.head_dim)
        return self._heads_last(attended)

    def _cache_inputs(self, layer: int) -> list[Value]:
        g, shape = self._geometry, self._shape
        sizes = {"key": (g.head_dim, shape.max_seq_len), "value": (shape.max_seq_len, g.head_dim)}
        return [
            self._graph.input(f"cache.{layer}.{part}", TensorProto.FLOAT16, (shape.batch, g.kv_heads, *last))
            for part, last in sizes.items()
        ]

    def _rotated(self, qkv: Value, layer: int) -> tuple[Value, Value, Value]:
        """Queries, and the new keys and values, which are outputs too; queries and keys turn together."""
        g, shape, node = self._geometry, self._shape, self._graph.node
        key, value = (f"new.{layer}.{part}" for part in ("key", "value"))
        for name in (key, value):
            self._graph.output(name, TensorProto.FLOAT16, (shape.batch, g.kv_heads, shape.tokens, g.head_dim))
        heads, sizes = self._heads_first(qkv, g.heads + 2 * g.kv_heads), (g.heads + g.kv_heads, g.kv_heads)
        both = f"layers.{layer}.query_key"
        node("Split", [heads, self._sizes(*sizes)], [both, value], axis=1)
        if self._normed_heads(layer):
            both = self._heads_normed(both, layer)
        first, second = self._split(both, 3, g.head_dim // 2, g.head_dim // 2)
        swapped, (cos, sin) = node("Concat", [second, first], axis=3), self._rotary
        turned = node("Add", [node("Mul", [both, cos]), node("Mul", [swapped, sin])])
        query = f"layers.{layer}.query"
        node("Split", [turned, self._sizes(g.heads, g.kv_heads)], [query, key], axis=1)
        return query, key, value

    def _scores_of_new_tokens(self, query: Value, key: Value) -> Value:
        """What the call's own tokens see of each other; one token's score is a sum, which fuses."""
        node = self._graph.node
        if self._shape.tokens > 1:
            turned = node("Transpose", [key], perm=[0, 1, 3, 2])
            return node("Add", [node("MatMul", [query, turned]), self._new_mask])
        return node("ReduceSum", [node("Mul", [query, key]), self._sizes(3)])

    @functools.cached_property
    def _cached_mask(self) -> Value:
        """0 where the cache holds a position of the sequence, [batch, 1, 1, max_seq_len]."""
        shape, constant = self._shape, self._graph.constant
        iota = constant("cache.iota", np.arange(shape.max_seq_len, dtype=np.int32).reshape(1, 1, 1, -1))
        held = self._graph.node("Less", [iota, self._reshape(self._past_lens(), shape.batch, 1, 1, 1)])
        kept, masked = (constant(f"mask.{v:g}", np.array(v, np.float16)) for v in (0.0, _MASKED))
        return self._graph.node("Where", [held, kept, masked])

    @functools.cached_property
    def _new_mask(self) -> Value:
        """What a token may see of its own call, [1, 1, queries, tokens]: a constant."""
        tokens = self._shape.tokens
        mask = np.triu(np.full((tokens, tokens), _MASKED, np.float16), 1)
        group = self._geometry.heads // self._geometry.kv_heads
        return self._graph.constant("causal", np.tile(mask, (group, 1))[None, None])

    @functools.cached_property
    def _rotary(self) -> tuple[Value, Value]:
        """Cosines, and sines with the sign of their half, [batch, 1, tokens, head_dim], for all layers."""
        cos, sin = self._rotary_tables()
        positions = self._positions()
        tables = {"rotary.cos": np.hstack([cos, cos]), "rotary.sin": np.hstack([-sin, sin])}
        sizes = (self._shape.batch, 1, self._shape.tokens, self._geometry.head_dim)
        found = [
            self._reshape(self._graph.node("Gather", [self._graph.constant(name, table), positions]), *sizes)
            for name, table in tables.items()
        ]
        return found[0], found[1]
