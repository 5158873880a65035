"""Runs the model in FP16 over prompts and records each product's input. Knows no precision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from typing_extensions import override

from lineside_models.calibration.plain_runner import PlainRunner
from lineside_models.checkpoint import Architecture
from lineside_models.checkpoint.base import parameter_count
from lineside_models.errors import BuildError
from lineside_models.graph.decoder import describe
from lineside_models.graph.dialect import Value
from lineside_models.graph.dialect_trt_plain import TrtPlainDialect
from lineside_models.graph.external_data import ExternalData
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.store import WeightStore
from lineside_models.graph.trt_products import LARGEST_FP16, Fp16Products
from lineside_models.graph.trt_shape import TrtShape
from lineside_models.room import check_room

CHUNK = 128
_OPSET = 17
_LARGEST, _SQUARES, _TOKEN = "recorded.largest.", "recorded.squares.", "recorded.token."
# Of each value. In memory 5.8 as measured with 1.8 billion of them, 9 with 135 million.
_DISK_BYTES, _MEMORY_BYTES = 2, 5
_SAMPLED = 37  # of each chunk, this token: none of the first ones, which are like no other


@dataclass(slots=True)
class Seen:
    """One product's input over all tokens: each channel's largest magnitude and mean square.

    `tokens`: a token of each chunk as it is, [chunks, channels], where such were asked for.
    """

    largest: NDArray[np.float64]
    mean_square: NDArray[np.float64]
    tokens: list[NDArray[np.float32]] = field(default_factory=list)


def record(
    architecture: Architecture,
    store: WeightStore,
    windows: Sequence[Sequence[int]],
    advance: Callable[[int], None],
    *,
    tokens: bool = False,
) -> dict[str, Seen]:
    """What each matrix's input looked like. Windows start at position 0 and are whole chunks.

    `advance` hears of every chunk read. `tokens`: keep some, too.
    """
    assert all(len(window) % CHUNK == 0 for window in windows), "padding would be recorded, too"
    if not windows:
        message = f"the prompts have fewer than {CHUNK} tokens"
        raise BuildError("calibrate", message, "give a longer --calibration file")
    seen: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory() as directory:
        _check_room(architecture, Path(directory))
        longest = max(map(len, windows))
        runner = PlainRunner(_recording_graph(architecture, store, longest, Path(directory), tokens=tokens))
        for window in windows:
            for past in range(0, len(window), CHUNK):
                _add(seen, runner.forward(list(window[past : past + CHUNK]), past))
                advance(1)
    count = sum(map(len, windows))
    for matrix, found in seen.items():
        found.mean_square /= count
        if not found.largest.max() <= LARGEST_FP16:
            message = f"the input of {matrix} overflows FP16 on the calibration prompts"
            raise BuildError("calibrate", message, "serve this model through ONNX Runtime")
    return seen


def _check_room(architecture: Architecture, directory: Path) -> None:
    """On the disk in 16 bits, in memory as ONNX Runtime computes with it."""
    values = parameter_count(architecture)
    check_room("calibrate", directory, values * _DISK_BYTES, values * _MEMORY_BYTES)


def _add(seen: dict[str, Seen], outputs: dict[str, NDArray[np.float32]]) -> None:
    for name, largest in outputs.items():
        if not name.startswith(_LARGEST):
            continue
        matrix = name.removeprefix(_LARGEST)
        squares = outputs[_SQUARES + matrix].astype(np.float64)
        known = seen.setdefault(matrix, Seen(np.zeros(len(largest)), np.zeros(len(largest))))
        known.largest = np.maximum(known.largest, largest)
        known.mean_square += squares
        if (token := outputs.get(_TOKEN + matrix)) is not None:
            known.tokens.append(token)


def _recording_graph(
    architecture: Architecture, store: WeightStore, longest: int, directory: Path, *, tokens: bool
) -> Path:
    path = directory / "recording.onnx"
    graph = OnnxGraph(store, _OPSET, ExternalData(path))
    shape = TrtShape.chunk(CHUNK, longest, rows=CHUNK)
    products = _RecordingProducts(graph, store, "constants")
    products.tokens = tokens
    describe(architecture, TrtPlainDialect(architecture, graph, store, products, shape))
    graph.save(path, "recording")
    return path


class _RecordingProducts(Fp16Products):
    """FP16 products with outputs for the statistics of their inputs, and for a token of them."""

    tokens = False

    @override
    def product(self, x: Value, matrix: str) -> Value:
        node, columns = self._graph.node, self._source.shape(matrix)[1]
        exact = node("Cast", [x], to=TensorProto.FLOAT)
        positions = self._graph.constant("recorded.axis", np.array([0], np.int64))
        node("ReduceMax", [node("Abs", [exact])], [_LARGEST + matrix], axes=[0], keepdims=0)
        node("ReduceSum", [node("Mul", [exact, exact]), positions], [_SQUARES + matrix], keepdims=0)
        for name in (_LARGEST, _SQUARES):
            self._graph.output(name + matrix, TensorProto.FLOAT, (columns,))
        if self.tokens:
            sampled = self._graph.constant("recorded.sampled", np.array(_SAMPLED, np.int64))
            node("Gather", [exact, sampled], [_TOKEN + matrix], axis=0)
            self._graph.output(_TOKEN + matrix, TensorProto.FLOAT, (columns,))
        return super().product(x, matrix)
