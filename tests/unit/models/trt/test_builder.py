"""What a TensorRT without strong typing is told about precisions. The flags of 8.6, which is not in CI."""

from enum import IntEnum
from types import SimpleNamespace

import pytest

from lineside_models.trt.builder import _set_precision


class Flag(IntEnum):
    FP16, INT8, OBEY_PRECISION_CONSTRAINTS = range(3)


class Kind(IntEnum):
    ELEMENTWISE, REDUCE, UNARY, MATRIX_MULTIPLY = range(4)


class Layer:
    precision = output_type = None

    def __init__(self, kind, dtype):
        self.type, self._dtype = kind, dtype

    def get_output(self, _index):
        return SimpleNamespace(dtype=self._dtype)

    def set_output_type(self, index, dtype):
        assert index == 0
        self.output_type = dtype


class Config:
    def __init__(self):
        self.flags = set()

    def set_flag(self, flag):
        self.flags.add(flag)


def api(*network_flags):
    return SimpleNamespace(
        NetworkDefinitionCreationFlag=SimpleNamespace(**dict.fromkeys(network_flags, 1)),
        BuilderFlag=Flag,
        LayerType=Kind,
        float32="float32",
    )


@pytest.mark.parametrize("kind", [Kind.ELEMENTWISE, Kind.REDUCE, Kind.UNARY])
def test_what_is_float32_in_the_graph_stays_it(kind):
    layers = [Layer(kind, "float32"), Layer(kind, "float16"), Layer(Kind.MATRIX_MULTIPLY, "float32")]
    network = SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)
    config = Config()
    _set_precision(api("EXPLICIT_BATCH"), config, network, "fp16")
    assert config.flags == {Flag.FP16, Flag.OBEY_PRECISION_CONSTRAINTS}
    assert [(layer.precision, layer.output_type) for layer in layers] == [
        ("float32",) * 2,
        (None,) * 2,
        (None,) * 2,
    ]


def test_int8_is_allowed_only_where_it_is_asked_for():
    config = Config()
    _set_precision(api("EXPLICIT_BATCH"), config, SimpleNamespace(num_layers=0), "int8")
    assert Flag.INT8 in config.flags


def test_strongly_typed_networks_are_left_alone():
    config = Config()
    _set_precision(api("STRONGLY_TYPED", "EXPLICIT_BATCH"), config, SimpleNamespace(num_layers=0), "int8")
    assert not config.flags
