"""The lowerings for TensorRT, ready to call. Knows which parts make which graph; the parts write it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lineside_models.checkpoint import Architecture
from lineside_models.graph.decoder import describe
from lineside_models.graph.dialect_trt_plain import TrtPlainDialect
from lineside_models.graph.external_data import ExternalData
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.store import WeightStore
from lineside_models.graph.trt_products import Fp16Products, WeightsAs
from lineside_models.graph.trt_shape import TrtShape

Precision = Literal["fp16"]
_PLAIN_OPSET = 17


def lower_trt_plain(  # noqa: PLR0913 what follows the path has defaults and names
    architecture: Architecture,
    store: WeightStore,
    shape: TrtShape,
    precision: Precision,
    path: Path,
    *,
    weights: WeightsAs = "inputs",
) -> None:
    """Write `path`, and `path`.data where the graph has large constants.

    `weights` says how the graph has the matrices that are in FP16: as inputs `weights.{name in the store}`,
    which all plans on a device share, or as constants.
    """
    graph = OnnxGraph(store, _PLAIN_OPSET, ExternalData(path))
    products = Fp16Products(graph, store, weights)
    describe(architecture, TrtPlainDialect(architecture, graph, store, products, shape))
    graph.save(path, f"{shape.role}_{precision}")
