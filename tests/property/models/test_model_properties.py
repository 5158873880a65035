"""Properties of the number formats and of the manifest's text, over random inputs."""

from __future__ import annotations

import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lineside.engine.weights import BLOCK, dequantise
from lineside_models.quantize import quantise
from lineside_models.toml import to_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

floats = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)
matrices = st.tuples(st.integers(1, 4), st.integers(1, 3)).flatmap(
    lambda shape: arrays.arrays(np.float32, (shape[0], shape[1] * BLOCK), elements=floats)
)


@given(matrices, st.sampled_from([4, 8]))
@settings(max_examples=300, deadline=None)
def test_quantised_values_are_within_a_step(values: np.ndarray, bits: int) -> None:
    stored, scale = quantise(values, bits)
    assert stored.dtype == np.uint8
    assert (scale > 0).all()
    assert np.isfinite(scale).all()
    blocks = values.reshape(*scale.shape, BLOCK)
    error = np.abs(dequantise(stored, scale).reshape(blocks.shape) - blocks).max(axis=-1)
    # 8 bits: half a step. 4 bits: clipping may cost the largest value more than rounding would.
    bound = {8: 0.5 / 127, 4: 2.5 / 8}[bits] * np.abs(blocks).max(axis=-1)
    assert (error <= bound * (1 + 1e-3) + 1e-28).all()


@given(matrices)
@settings(max_examples=100, deadline=None)
def test_eight_bits_of_eight_bits_change_nothing(values: np.ndarray) -> None:
    first = dequantise(*quantise(values, 8))
    again = dequantise(*quantise(first, 8))
    assert np.allclose(first, again, rtol=1e-5, atol=1e-28)


leaves = (
    st.text()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
tables = st.recursive(
    st.dictionaries(st.text(), leaves | st.lists(leaves)),
    lambda children: st.dictionaries(st.text(), leaves | children | st.lists(children, min_size=1)),
    max_leaves=8,
)


@given(tables)
@settings(max_examples=150, deadline=None)
def test_any_table_comes_back(table: dict) -> None:
    assert tomllib.loads(to_toml(table)) == table
