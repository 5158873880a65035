"""Products in INT8, FP8 and INT4, as the Q/DQ nodes that TensorRT fuses. Knows no decoder and no model run.

A matrix that the calibration has no point for is multiplied in FP16.
"""

from __future__ import annotations

import abc

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from typing_extensions import override

from lineside_models.calibration.result import Calibration, Point
from lineside_models.graph.dialect import Value
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.trt_products import Fp16Products, Source, WeightsAs
from lineside_models.quantize import search_int4

INT4_BLOCKS = (128, 64, 32)
_LARGEST = {"int8": 127.0, "fp8": 448.0}
_SMALLEST_SCALE = float(np.finfo(np.float16).tiny)


class QuantisedProducts(Fp16Products):
    """Quantises what the calibration has a point for; a subclass says how."""

    def __init__(
        self, graph: OnnxGraph, source: Source, weights_as: WeightsAs, calibration: Calibration
    ) -> None:
        super().__init__(graph, source, weights_as)
        self._points = calibration.points

    @override
    def product(self, x: Value, matrix: str) -> Value:
        if matrix not in self._points:
            return super().product(x, matrix)
        return self._quantised(x, matrix, self._points[matrix])

    @abc.abstractmethod
    def _quantised(self, x: Value, matrix: str, point: Point) -> Value:
        """The product with both sides, or the matrix alone, quantised."""


class Int8Products(QuantisedProducts):
    """INT8, a scale for each row of a matrix and one for its input.

    Before TensorRT 10 (`weak`) quantisation nodes and their neighbours are float32 and the builder chooses.
    """

    weak = False

    @override
    def _quantised(self, x: Value, matrix: str, point: Point) -> Value:
        kind: np.dtype[np.floating] = np.dtype(np.float32 if self.weak else np.float16)
        values = self._source.values(matrix)
        scales = _scales(np.abs(values).max(axis=1), "int8", kind)
        integers = np.clip(np.rint(values / scales[:, None].astype(np.float32)), -127, 127).astype(np.int8)
        weight = self._weight(matrix, integers, scales)
        if self.weak:
            x = self._graph.node("Cast", [x], to=TensorProto.FLOAT)
        x = self._rounded_input(x, matrix, _scales(np.array(point.largest), "int8", kind), np.int8)
        y = self._gemm(x, matrix, weight, kind)
        return self._graph.node("Cast", [y], to=TensorProto.FLOAT16) if self.weak else y

    def _weight(self, matrix: str, integers: NDArray[np.int8], scales: NDArray[np.floating]) -> Value:
        return self._dequantised(matrix, integers, scales, axis=0)

    def _dequantised(
        self, matrix: str, stored: NDArray[np.generic], scales: NDArray[np.generic], axis: int = 1
    ) -> Value:
        inputs = [
            self._graph.external(f"{matrix}.stored", stored),
            self._graph.constant(f"{matrix}.scale", scales),
        ]
        return self._graph.node("DequantizeLinear", inputs, axis=axis)

    def _rounded_input(
        self, x: Value, matrix: str, scale: NDArray[np.generic], kind: type[np.generic]
    ) -> Value:
        zero = self._graph.constant(f"{matrix}.input.zero", np.zeros((), kind))
        inputs = [self._graph.constant(f"{matrix}.input.scale", scale), zero]
        return self._graph.node(
            "DequantizeLinear", [self._graph.node("QuantizeLinear", [x, *inputs]), *inputs]
        )

    def _gemm(self, x: Value, matrix: str, weight: Value, kind: np.dtype[np.floating]) -> Value:
        inputs, bias = [x, weight], f"{matrix}.bias"
        if self._source.has(bias):
            inputs.append(self._graph.constant(bias, self._source.values(bias).astype(kind)))
        return self._graph.node("Gemm", inputs, transB=1)


class WeakInt8Products(Int8Products):
    """INT8 for TensorRT 8.6, which builds nothing from integers: it rounds float32 values, to the same.

    Beside such products it does not keep to the precisions that it is told: norms of a residual stream with
    channels over 256, whose squares overflow in FP16, came out as zeros.
    """

    weak = narrowed = True

    @override
    def _weight(self, matrix: str, integers: NDArray[np.int8], scales: NDArray[np.floating]) -> Value:
        values = integers * scales[:, None].astype(np.float32)
        zeros = np.zeros(scales.shape, np.int8)
        rounding = [
            self._graph.constant(f"{matrix}.scale", scales),
            self._graph.constant(f"{matrix}.zero", zeros),
        ]
        rounded = self._graph.node(
            "QuantizeLinear", [self._graph.external(f"{matrix}.values", values), *rounding], axis=0
        )
        return self._graph.node("DequantizeLinear", [rounded, *rounding], axis=0)


class Fp8Products(Int8Products):
    """FP8 (E4M3), one scale for a matrix and one for its input."""

    @override
    def _quantised(self, x: Value, matrix: str, point: Point) -> Value:
        kind, fp8 = np.dtype(np.float16), ml_dtypes.float8_e4m3fn
        values = self._source.values(matrix)
        scale = _scales(np.abs(values).max(), "fp8", kind)
        weight = self._dequantised(matrix, (values / scale.astype(np.float32)).astype(fp8), scale)
        x = self._rounded_input(x, matrix, _scales(np.array(point.largest), "fp8", kind), fp8)
        return self._gemm(x, matrix, weight, kind)


class Int4Products(QuantisedProducts):
    """INT4 weights, a scale for each block of a row; the input stays in FP16."""

    @override
    def _quantised(self, x: Value, matrix: str, point: Point) -> Value:
        values = self._source.values(matrix)
        block = int4_block(values.shape[1])
        integers, scales = int4_blocks(values, block, np.asarray(point.rms, np.float32))
        inputs = [
            self._graph.external(f"{matrix}.stored", integers.T.astype(ml_dtypes.int4)),
            self._graph.external(f"{matrix}.scale", np.ascontiguousarray(scales.T)),
        ]
        weight = self._graph.node("DequantizeLinear", inputs, axis=0, block_size=block)
        y, bias = self._graph.node("MatMul", [x, weight]), f"{matrix}.bias"
        if not self._source.has(bias):
            return y
        values = self._source.values(bias).astype(np.float16)
        return self._graph.node("Add", [y, self._graph.constant(bias, values)])


def int4_block(columns: int) -> int:
    """The largest block that divides a row; 0 if none does."""
    return next((block for block in INT4_BLOCKS if columns % block == 0), 0)


def int4_blocks(
    values: NDArray[np.float32], block: int, rms: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Integers [rows, columns] and FP16 scales [rows, blocks]; errors count by their channel's input."""
    blocks = values.reshape(values.shape[0], -1, block)
    importance = np.square(rms).reshape(1, -1, block)
    mean = importance.mean()
    _, found = search_int4(blocks, importance / mean if mean else 1.0)  # of an input of zeros all count alike
    scales = np.maximum(found, _SMALLEST_SCALE).astype(np.float16)
    integers = np.clip(np.rint(blocks / scales[..., None].astype(np.float32)), -8, 7)
    return integers.astype(np.int8).reshape(values.shape), scales


def _scales(largest: NDArray[np.float32], target: str, kind: np.dtype[np.floating]) -> NDArray[np.floating]:
    """Scales in the graph's type, rounded up, so that the largest value does not overflow."""
    exact = np.maximum(np.asarray(largest, np.float32) / np.float32(_LARGEST[target]), np.finfo(kind).tiny)
    rounded = exact.astype(kind)
    up = np.nextafter(rounded, np.array(np.inf, kind))
    return np.asarray(np.where(rounded.astype(np.float32) < exact, up, rounded), kind)
