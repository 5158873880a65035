"""The decoder's weights and its graph for each target. Knows nothing of checkpoints' formats or bundles."""

from lineside_models.graph.lower_trt import PRECISIONS, Precision, lower_trt_native, lower_trt_plain
from lineside_models.graph.parts import Part, in_groups, layer_by_layer, whole
from lineside_models.graph.trt_products import WeightsAs
from lineside_models.graph.trt_shape import TrtShape

__all__ = [
    "PRECISIONS",
    "Part",
    "Precision",
    "TrtShape",
    "WeightsAs",
    "in_groups",
    "layer_by_layer",
    "lower_trt_native",
    "lower_trt_plain",
    "whole",
]
