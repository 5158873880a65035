"""The lowering for ONNX Runtime 1.23.2 and later, CPU and CUDA. Knows its operators, not the decoder's order.

Attention with the cache in place (GroupQueryAttention), quantised products and lookups that read the store's
bytes as they are (MatMulNBits, QGemm, GatherBlockQuantized), fused norms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from onnx import TensorProto, numpy_helper
from typing_extensions import override

from lineside.engine.weights import BLOCK
from lineside_models.checkpoint import Architecture
from lineside_models.graph.decoder import describe
from lineside_models.graph.dialect import Dialect, Value, rotary_caches
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.store import WeightStore

Attention = Literal["fp32", "fp16"]
_CACHE_TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
_CONTRIB = "com.microsoft"
_OPSET, _OPSET_OF_ROWS = 20, 21  # the latter rounds [positions, columns] by scales of [positions, 1]
_MIDDLE = 128  # what stands for zero in 8 bits


class OrtDialect(Dialect):
    """Writes the decoder for ONNX Runtime.

    `accuracy_level` 4 lets MatMulNBits quantise its input to 8 bits, which is what makes it fast; 0 computes
    in float32 and is for comparing with a reference. `attention`: type of the attention and its cache.

    A matrix by row is an integer product on the CPU, each of its input's rows rounded by its own largest
    value. `signed`: its weights are given as signed integers, which x86 processors with VNNI want; without
    VNNI their products of such overflow.
    """

    def __init__(  # noqa: PLR0913 as lower_ort
        self,
        architecture: Architecture,
        store: WeightStore,
        max_seq_len: int,
        accuracy_level: int,
        attention: Attention,
        *,
        signed: bool,
    ) -> None:
        self._attention, self._signed = attention, signed
        # Integer products want positions in one axis.
        self._flat = store.by_rows and accuracy_level > 0 and attention == "fp32"
        self._row_zeros: Value | None = None
        self._batch_shape: Value | None = None
        self._geometry = architecture.geometry
        self._store, self._graph = store, OnnxGraph(store, _OPSET_OF_ROWS if self._flat else _OPSET)
        self._max_seq_len, self._accuracy_level = max_seq_len, accuracy_level
        for name, kind, shape in (
            ("input_ids", TensorProto.INT64, ("batch", "tokens")),
            ("seqlens_k", TensorProto.INT32, ("batch",)),
            ("total_len", TensorProto.INT32, ()),
            ("rows", TensorProto.INT64, ("rows",)),
        ):
            self._graph.input(name, kind, shape)
        self._graph.output("logits", TensorProto.FLOAT, ("rows", self._geometry.vocab_size))
        self._rotary_caches()

    def save(self, path: Path) -> None:
        """Write the model file beside the store."""
        self._graph.save(path, "decoder", {_CONTRIB: 1})

    @override
    def embed(self, table: str) -> Value:
        x = self._looked_up(table)
        return self._graph.node("Flatten", [x], axis=2) if self._flat else x

    def _looked_up(self, table: str) -> Value:
        if self._store.bits(table) == 32:
            return self._graph.node("Gather", [self._graph.stored(table), "input_ids"])
        # The same bytes as a tied head's, under the shape that a lookup wants.
        rows = self._graph.stored(f"{table}.q", f"{table}.rows", self._store.shape(table))
        return self._graph.node(
            "GatherBlockQuantized",
            [rows, "input_ids", self._block_scales(table)],
            domain=_CONTRIB,
            bits=self._store.bits(table),
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    @override
    def norm(self, x: Value, weight: str) -> Value:
        inputs = [x, self._graph.stored(weight)]
        eps = self._geometry.norm_eps
        return self._graph.node("SimplifiedLayerNormalization", inputs, axis=-1, epsilon=eps)

    @override
    def add_norm(self, x: Value, update: Value, weight: str) -> tuple[Value, Value]:
        normed, total = f"{weight}.normed", f"{weight}.sum"
        self._graph.node(
            "SkipSimplifiedLayerNormalization",
            [update, x, self._graph.stored(weight)],
            [normed, "", "", total],
            domain=_CONTRIB,
            epsilon=self._geometry.norm_eps,
        )
        return normed, total

    @override
    def linear(self, x: Value, matrix: str) -> Value:
        bias = self._graph.stored(f"{matrix}.bias") if self._store.has(f"{matrix}.bias") else ""
        if self._store.bits(matrix) == 32:
            y = self._graph.node("FusedMatMul", [x, self._graph.stored(matrix)], domain=_CONTRIB, transB=1)
            return self._graph.node("Add", [y, bias]) if bias else y
        if self._flat and self._store.by_row(matrix):
            y = self._row_product(x, matrix)
            return self._graph.node("Add", [y, bias]) if bias else y
        weight = [self._graph.stored(f"{matrix}.q"), self._block_scales(matrix)]
        rows, columns = self._store.shape(matrix)
        return self._graph.node(
            "MatMulNBits",
            [x, *weight, "", "", bias] if bias else [x, *weight],
            domain=_CONTRIB,
            N=rows,
            K=columns,
            bits=self._store.bits(matrix),
            block_size=BLOCK,
            accuracy_level=self._accuracy_level,
        )

    def _block_scales(self, matrix: str) -> Value:
        scales = self._graph.stored(f"{matrix}.scale")
        if not self._store.by_row(matrix):
            return scales
        rows, columns = self._store.shape(matrix)
        shape = self._graph.constant(f"scales.{rows}.{columns}", np.array([rows, columns // BLOCK], np.int64))
        return self._graph.node("Expand", [scales, shape])

    def _row_product(self, x: Value, matrix: str) -> Value:
        """In integers, but for the channels that the store has apart."""
        apart = self._store.apart(matrix)
        if not len(apart):
            return self._integer_product(x, matrix)
        node, constant = self._graph.node, self._graph.constant
        columns = constant(f"{matrix}.columns", apart)
        rest = np.ones(self._store.shape(matrix)[1], np.float32)
        rest[apart] = 0
        y = self._integer_product(node("Mul", [x, constant(f"{matrix}.rest", rest)]), matrix)
        weights = self._graph.stored(f"{matrix}.exact")
        own = node("FusedMatMul", [node("Gather", [x, columns], axis=1), weights], domain=_CONTRIB, transB=1)
        return node("Add", [y, own])

    def _integer_product(self, x: Value, matrix: str) -> Value:
        """Both rounded to 8 bits, [positions, columns] by its positions, and the sums scaled back."""
        node, constant = self._graph.node, self._graph.constant
        last = constant("last", np.array([-1], np.int64))
        largest = node("ReduceMax", [node("Abs", [x]), last])
        scale = node("Mul", [largest, constant("step", np.array(1 / 127, np.float32))])
        if self._row_zeros is None:
            middle = numpy_helper.from_array(np.array([_MIDDLE], np.uint8))
            self._row_zeros = node("ConstantOfShape", [node("Shape", [scale])], value=middle)
        rows, columns = self._store.shape(matrix)
        # A row of zeros has scale 0: whatever it is rounded to comes out as 0. Each row is a block: with a
        # scale for each index of an axis it takes up to twice as long, and one more node (measured).
        rounded = node("QuantizeLinear", [x, scale, self._row_zeros], axis=1, block_size=columns)
        weights, zeros = self._row_weights(matrix)
        own = [constant("one", np.array(1, np.float32)), constant("middle", np.array(_MIDDLE, np.uint8))]
        scales = self._graph.stored(f"{matrix}.scale", f"{matrix}.scales", (rows,))
        y = node("QGemm", [rounded, *own, weights, scales, zeros], domain=_CONTRIB, transB=1)
        return node("Mul", [y, scale])

    def _row_weights(self, matrix: str) -> tuple[Value, Value]:
        """The matrix's integers, and what stands for zero in each of its rows."""
        node, constant = self._graph.node, self._graph.constant
        tensor, shape = f"{matrix}.q", self._store.shape(matrix)
        rows = shape[0]
        if not self._signed:
            stored = self._graph.stored(tensor, f"{matrix}.rows", shape)
            return stored, constant(f"zeros.{rows}", np.full(rows, _MIDDLE, np.uint8))
        # The same bytes with the highest bit turned are 128 less: made once, when the model is loaded.
        stored = self._graph.stored(tensor, f"{matrix}.signed", shape, TensorProto.INT8)
        highest = constant("highest", np.array([-_MIDDLE], np.int8))
        return node("BitwiseXor", [stored, highest]), constant(f"zeros.{rows}", np.zeros(rows, np.int8))

    @override
    def gated_linear(self, x: Value, matrix: str) -> Value:
        # One product and a split: 3 % faster a step than two products of half the rows (measured).
        half = self._store.shape(matrix)[0] // 2
        halves = self._graph.constant("gate_up.halves", np.array([half, half], np.int64))
        gate, up = f"{matrix}.gate", f"{matrix}.up"
        self._graph.node("Split", [self.linear(x, matrix), halves], [gate, up], axis=-1)
        silu = self._graph.node("QuickGelu", [gate], domain=_CONTRIB, alpha=1.0)
        return self._graph.node("Mul", [silu, up])

    @override
    def attend(self, qkv: Value, layer: int) -> Value:
        g = self._geometry
        shape = ("batch", g.kv_heads, self._max_seq_len, g.head_dim)
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        for before, after in zip(past, present, strict=True):
            self._graph.input(before, _CACHE_TYPES[self._attention], shape)
            self._graph.output(after, _CACHE_TYPES[self._attention], shape)
        half = self._attention == "fp16"
        if self._flat:
            qkv = self._graph.node("Reshape", [qkv, self._apart()])
        parts = self._normed_parts(qkv, layer) if self._store.has(f"layers.{layer}.q_norm") else [qkv]
        if half:
            parts = [self._graph.node("Cast", [part], to=TensorProto.FLOAT16) for part in parts]
        attended = self._graph.node(
            "GroupQueryAttention",
            [*parts, *[""] * (3 - len(parts)), *past, "seqlens_k", "total_len", "rotary.cos", "rotary.sin"],
            [f"layers.{layer}.attended", *present],
            domain=_CONTRIB,
            num_heads=g.heads,
            kv_num_heads=g.kv_heads,
            do_rotary=1,
            **({} if half else {"scale": 1.0}),
        )
        if self._flat:
            return self._graph.node("Flatten", [attended], axis=2)
        return self._graph.node("Cast", [attended], to=TensorProto.FLOAT) if half else attended

    def _apart(self) -> Value:
        """The shape [batch, tokens, -1], made once."""
        if self._batch_shape is None:
            last = self._graph.constant("last", np.array([-1], np.int64))
            shape = self._graph.node("Shape", ["input_ids"])
            self._batch_shape = self._graph.node("Concat", [shape, last], axis=0)
        return self._batch_shape

    def _normed_parts(self, qkv: Value, layer: int) -> list[Value]:
        """Query and key, normed head by head, and value."""
        g = self._geometry
        heads = {"query": g.heads, "key": g.kv_heads, "value": g.kv_heads}
        widths = np.array([count * g.head_dim for count in heads.values()], np.int64)
        parts = [f"layers.{layer}.{name}" for name in heads]
        self._graph.node("Split", [qkv, self._graph.constant("qkv.widths", widths)], parts, axis=-1)
        query, key, value = parts
        normed = [
            self._heads_normed(part, f"layers.{layer}.{weight}", count)
            for part, weight, count in ((query, "q_norm", g.heads), (key, "k_norm", g.kv_heads))
        ]
        return [*normed, value]

    def _heads_normed(self, x: Value, weight: str, heads: int) -> Value:
        size = self._geometry.head_dim
        apart = self._graph.constant(f"heads.{heads}", np.array([0, 0, heads, size], np.int64))
        joined = self._graph.constant(f"joined.{heads}", np.array([0, 0, heads * size], np.int64))
        normed = self.norm(self._graph.node("Reshape", [x, apart]), weight)
        return self._graph.node("Reshape", [normed, joined])

    @override
    def wanted_rows(self, x: Value) -> Value:
        self._row_zeros = None  # there are fewer rows from here on
        flat = x if self._flat else self._graph.node("Flatten", [x], axis=2)
        return self._graph.node("Gather", [flat, "rows"])

    @override
    def logits(self, x: Value) -> None:
        self._graph.node("Identity", [x], ["logits"])

    def _rotary_caches(self) -> None:
        """Tables that turn queries and keys, on the CPU with the root of the attention's scale in each.

        A product of one row takes a shorter way there where nothing is to be multiplied behind it: SmolLM2's
        steps of eight are 6 % shorter behind 112 tokens, 16 % behind 500 (AVX2, measured).
        """
        cos, sin = rotary_caches(self._geometry, self._max_seq_len)
        if self._attention == "fp16":
            cos, sin = cos.astype(np.float16), sin.astype(np.float16)
        else:
            root = np.float32(self._geometry.head_dim**-0.25)
            cos, sin = cos * root, sin * root
        self._graph.constant("rotary.cos", cos)
        self._graph.constant("rotary.sin", sin)


def lower_ort(  # noqa: PLR0913 what follows the path has defaults and names
    architecture: Architecture,
    store: WeightStore,
    max_seq_len: int,
    path: Path,
    accuracy_level: int = 4,
    *,
    attention: Attention = "fp32",
    signed: bool = False,
) -> None:
    """Write `path`, the model that computes with `store` (a file in the same directory).

    ONNX Runtime's CUDA provider has this attention in 16 bits alone.
    """
    dialect = OrtDialect(architecture, store, max_seq_len, accuracy_level, attention, signed=signed)
    describe(architecture, dialect)
    dialect.save(path)
