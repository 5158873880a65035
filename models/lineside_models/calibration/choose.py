"""Chooses scales for a precision from what the model's products saw. Knows no terminal and no graph.

INT8: channels of inputs and weights are brought near one another so that both round well (SmoothQuant, with
the exponent searched for each matrix); a matrix that would still lose too much stays in FP16. INT4: channels
that matter are enlarged before rounding (AWQ, likewise). FP8 needs the largest values alone. Where a token's
input is rounded by its own largest value, as on the CPU, channels are brought near one another as for INT8,
and those that are enormous stay apart.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Geometry
from lineside_models.calibration.record import Seen
from lineside_models.calibration.result import HEADS, Point, Quantisation
from lineside_models.graph.equalise import share_between_heads
from lineside_models.graph.trt_products import Source
from lineside_models.graph.trt_quantised import int4_block, int4_blocks

Vector = NDArray[np.float64]
_EXPONENTS = np.linspace(0, 1, 11)
_SAMPLED_ROWS = 256
_CHANNEL_RANGE = 1e3  # no channel is scaled by more, either way
_SMALLEST = 1e-6
_INT8_NOISE_LIMIT = 7e-4  # rounding noise over signal; above it a matrix stays in FP16
_ROW_NOISE_LIMIT = 3.5e-4  # the same, reckoned from tokens
_MOST_APART = 16  # channels that are no part of an integer product; of the vocabulary's as many are
_ENORMOUS = 8  # times a usual token's largest value


class RowScales(NamedTuple):
    """Channel scales of a matrix by row, and the channels whose part of its product is computed as it is."""

    channels: NDArray[np.float32]
    apart: NDArray[np.int64]


def choose_point(
    geometry: Geometry, store: Source, matrix: str, seen: Seen, precision: Quantisation
) -> Point | None:
    """How to quantise a matrix and its input. None: it stays in FP16."""
    if precision == "fp8":
        return Point(_rounded(seen.largest.max()))
    sample = _sample(store, matrix)
    if precision == "int4" and not int4_block(sample.shape[1]):
        return None
    noise = partial(_int8_noise if precision == "int8" else _int4_noise, sample, seen)
    candidates = _smooth(sample, seen.largest) if precision == "int8" else _protect(seen)
    if matrix in HEADS:
        candidates = candidates[:1]  # nothing before it takes its channels' scales
    if matrix.endswith(".o_proj"):
        candidates = [share_between_heads(scales, geometry) for scales in candidates]
    best = min(candidates, key=noise)
    if precision == "int8" and noise(best) > _INT8_NOISE_LIMIT * _signal(sample, seen.mean_square):
        return None
    return _point(seen, best, precision)


def choose_row_scales(geometry: Geometry, store: Source, matrix: str, seen: Seen) -> RowScales | None:
    """How a matrix gets one scale for each row, its input being rounded token by token. None: it does not."""
    sample, tokens = _sample(store, matrix), np.stack(seen.tokens).astype(np.float64)
    candidates = _smooth(sample, np.abs(tokens).max(axis=0))
    if matrix in HEADS:
        candidates = candidates[:1]  # as above
    if matrix.endswith(".o_proj"):
        candidates = [share_between_heads(scales, geometry) for scales in candidates]
    limit = _ROW_NOISE_LIMIT * _signal(sample, np.square(tokens).mean(axis=0))
    for apart in _sets_apart(matrix, seen, np.abs(tokens)):
        noise = partial(_row_noise, sample, tokens, apart)
        best = min(candidates, key=noise)
        if noise(best) <= limit:
            return RowScales(best.astype(np.float32), apart)
    return None


def _sets_apart(matrix: str, seen: Seen, sizes: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Channels that would make every other one's step too coarse, in their order; the fewest first.

    In the layers a few tokens have such channels, the first one of a text above all. None at all where there
    are too many. `sizes`: of some tokens.
    """
    largest = np.sort(np.argsort(-sizes.max(axis=0))[:_MOST_APART])
    if matrix in HEADS:
        return [largest]
    enormous = np.flatnonzero(seen.largest > _ENORMOUS * np.median(sizes.max(axis=1)))
    # Tokens in the sample need not have them: what more of them would cost cannot be told from these.
    return [enormous, largest] if len(enormous) <= _MOST_APART else []


def _sample(store: Source, matrix: str) -> NDArray[np.float64]:
    """Some of a matrix's rows, evenly spread."""
    values = store.values(matrix)
    return values[:: max(1, len(values) // _SAMPLED_ROWS)].astype(np.float64)


def _signal(sample: NDArray[np.float64], mean_square: Vector) -> float:
    """What the products' square is expected to be, summed over the sampled rows."""
    return float((np.square(sample) @ mean_square).sum())


def _point(seen: Seen, scales: Vector, precision: Quantisation) -> Point:
    channels = () if (scales == 1).all() else tuple(map(_rounded, scales))
    rms = tuple(map(_rounded, np.sqrt(seen.mean_square) / scales)) if precision == "int4" else ()
    return Point(_rounded((seen.largest / scales).max()), channels, rms)


def _smooth(sample: NDArray[np.float64], largest: Vector) -> list[Vector]:
    """Ones, and channel scales between the input's range and the inverse of the weights' range."""
    inputs = np.maximum(largest, _SMALLEST)
    weights = np.maximum(np.abs(sample).max(axis=0), _SMALLEST)
    tried = [_levelled(inputs**exponent / weights ** (1 - exponent)) for exponent in _EXPONENTS]
    return [np.ones_like(inputs), *tried]


def _protect(seen: Seen) -> list[Vector]:
    """Ones, and channel scales that grow with the input."""
    inputs = np.maximum(np.sqrt(seen.mean_square), _SMALLEST)
    return [_levelled(inputs**exponent) for exponent in _EXPONENTS]


def _levelled(scales: Vector) -> Vector:
    """Scales around 1, in FP16's comfort."""
    levelled: Vector = scales / np.exp(np.log(scales).mean())
    return np.clip(levelled, 1 / _CHANNEL_RANGE, _CHANNEL_RANGE)


def _int8_noise(sample: NDArray[np.float64], seen: Seen, scales: Vector) -> float:
    """Expected square error of the products with input and weights rounded, over the sampled rows."""
    weights = sample * scales
    input_step = float((seen.largest / scales).max()) / 127
    weight_steps = np.abs(weights).max(axis=1) / 127
    of_input = input_step**2 / 12 * float(np.square(weights).sum())
    of_weights = float(np.square(weight_steps).sum()) / 12 * float((seen.mean_square / scales**2).sum())
    return of_input + of_weights


def _row_noise(
    sample: NDArray[np.float64],
    tokens: NDArray[np.float64],
    apart: NDArray[np.int64],
    scales: Vector,
) -> float:
    """Expected square error of a token's products with each token rounded by its own largest value.

    Channels `apart` are not rounded, nor are their weights, which have a part in the steps of their rows.
    """
    weight_steps = np.abs(sample * scales).max(axis=1) / 127
    weights, inputs = np.delete(sample * scales, apart, axis=1), np.delete(tokens / scales, apart, axis=1)
    input_steps = np.abs(inputs).max(axis=1) / 127
    of_input = float(np.square(input_steps).mean()) / 12 * float(np.square(weights).sum())
    of_weights = float(np.square(weight_steps).sum()) / 12 * float(np.square(inputs).sum(axis=1).mean())
    return of_input + of_weights


def _int4_noise(sample: NDArray[np.float64], seen: Seen, scales: Vector) -> float:
    """Expected square error of the products with the weights rounded, over the sampled rows."""
    weights = (sample * scales).astype(np.float32)
    block, rms = int4_block(weights.shape[1]), np.sqrt(seen.mean_square) / scales
    integers, steps = int4_blocks(weights, block, rms.astype(np.float32))
    rounded = integers * np.repeat(steps.astype(np.float32), block, axis=1)
    return float((np.square(rounded - weights, dtype=np.float64) @ np.square(rms)).sum())


def _rounded(value: float) -> float:
    """Six digits: enough for a scale, and a smaller file."""
    return float(f"{value:.6g}")
