"""The lowerings for TensorRT, ready to call. Knows which parts make which graph; the parts write it.

`weights` says how a graph has the matrices that stay in FP16: as inputs `weights.{name in the store}`, which
all plans on a device share, or as constants. Every precision but fp16 needs a calibration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from lineside_models.calibration.result import Calibration
from lineside_models.checkpoint import Architecture
from lineside_models.errors import BuildError
from lineside_models.graph.decoder import describe, describe_part
from lineside_models.graph.dialect_trt_native import TrtNativeDialect
from lineside_models.graph.dialect_trt_plain import TrtPlainDialect
from lineside_models.graph.equalise import Equaliser
from lineside_models.graph.external_data import ExternalData
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.parts import Part, whole
from lineside_models.graph.store import WeightStore
from lineside_models.graph.trt_products import (
    Fp16Products,
    LayerProducts,
    Products,
    ScaledSource,
    Source,
    WeightsAs,
)
from lineside_models.graph.trt_quantised import Fp8Products, Int4Products, Int8Products, WeakInt8Products
from lineside_models.graph.trt_shape import TrtShape

Precision = Literal["fp16", "fp8", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("fp16", "fp8", "int8", "int4")
_WEAK_OPSET, _NATIVE_OPSET = 17, 24
_STRONG_OPSETS = {"fp16": 20, "fp8": 20, "int8": 20, "int4": 21}
_QUANTISED = {"fp8": Fp8Products, "int8": Int8Products, "int4": Int4Products}


def lower_trt_plain(  # noqa: PLR0913 what follows the path has defaults and names
    architecture: Architecture,
    store: WeightStore,
    shape: TrtShape,
    precision: Precision,
    path: Path,
    *,
    weights: WeightsAs = "inputs",
    strongly_typed: bool = False,
    calibration: Calibration | None = None,
    part: Part | None = None,
) -> None:
    """Write `path`, and `path`.data where the graph has large constants, in plain operations.

    `strongly_typed` is for TensorRT 10 and later; without it, for 8.6, there is fp16 and int8. `part`: that
    alone; see TrtDialect for what a part takes and hands over. One that repeats is in FP16.
    """
    _check(precision, calibration)
    if not strongly_typed and precision not in ("fp16", "int8"):
        message = f"{precision} needs a strongly typed network, which this TensorRT does not have"
        raise BuildError("lower for TensorRT", message, "choose --precision fp16 or int8")
    opset = _STRONG_OPSETS[precision] if strongly_typed else _WEAK_OPSET
    graph, source = _begin(architecture, store, opset, path, calibration)
    (everything,) = whole(architecture.geometry.layers)
    part = part or everything
    if part.repeats > 1:
        products: Products = LayerProducts(graph, source, shape.positions)
    else:
        products = _products(graph, source, weights, calibration)
    dialect = TrtPlainDialect(architecture, graph, source, products, shape)
    describe_part(architecture, dialect, part)
    graph.save(path, f"{shape.role}_{precision}")


def lower_trt_native(  # noqa: PLR0913 what follows the path has defaults and names
    architecture: Architecture,
    store: WeightStore,
    shape: TrtShape,
    precision: Precision,
    path: Path,
    *,
    weights: WeightsAs = "inputs",
    calibration: Calibration | None = None,
) -> None:
    """As lower_trt_plain, with TensorRT's own norm, rotary, cache and attention operators."""
    _check(precision, calibration)
    graph, source = _begin(architecture, store, _NATIVE_OPSET, path, calibration)
    products = _products(graph, source, weights, calibration)
    describe(architecture, TrtNativeDialect(architecture, graph, source, products, shape))
    graph.save(path, f"{shape.role}_{precision}")


def _check(precision: Precision, calibration: Calibration | None) -> None:
    found = calibration.precision if calibration else "fp16"
    if found != precision:
        message = f"{precision} was asked for, with a calibration for {found}"
        raise BuildError("lower for TensorRT", message, f"calibrate for {precision} first")


def _begin(
    architecture: Architecture, store: WeightStore, opset: int, path: Path, calibration: Calibration | None
) -> tuple[OnnxGraph, Source]:
    graph = OnnxGraph(store, opset, ExternalData(path))
    if not calibration:
        return graph, store
    return graph, ScaledSource(store, Equaliser(architecture.geometry, channel_scales(calibration, store)))


def channel_scales(calibration: Calibration, source: Source) -> dict[str, np.ndarray]:
    """The calibration's channel scales by matrix. Raises BuildError where they are not this model's."""
    for matrix, point in calibration.points.items():
        try:
            columns = source.shape(matrix)[1]
        except KeyError:
            columns = -1
        if columns < 0 or any(len(values) not in (0, columns) for values in (point.channels, point.rms)):
            message = f"the calibration's {matrix} is not this model's"
            raise BuildError("lower for TensorRT", message, "calibrate this model")
    return {
        matrix: np.array(point.channels, np.float32)
        for matrix, point in calibration.points.items()
        if point.channels
    }


def _products(
    graph: OnnxGraph, source: Source, weights: WeightsAs, calibration: Calibration | None
) -> Products:
    if not calibration:
        return Fp16Products(graph, source, weights)
    weak = calibration.precision == "int8" and graph.opset == _WEAK_OPSET
    kind = WeakInt8Products if weak else _QUANTISED[calibration.precision]
    return kind(graph, source, weights, calibration)
