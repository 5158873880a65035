"""How checkpoints stretch rotary positions beyond their training. Knows no file format and no graph.

Every kind comes down to one divisor for each rotary pair's angle, and one factor for the rotated values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lineside_models.errors import CheckpointError

KINDS = ("default", "linear", "llama3", "yarn")
_UNKNOWN = f"use a model whose positions are stretched in one of these ways: {', '.join(KINDS)}"
_MALFORMED = "fetch the checkpoint's own configuration again"


class Rope(NamedTuple):
    """Sizes that the published equations need, and the setting's name for messages."""

    head_dim: int
    theta: float
    max_position: int
    where: str


class Stretch(NamedTuple):
    """The divisors, none where nothing is stretched, and the factor."""

    divisors: tuple[float, ...] = ()
    magnitude: float = 1.0


def stretch_of(settings: Mapping[str, object], rope: Rope) -> Stretch:
    """From settings as in config.json's `rope_scaling`. Raises CheckpointError with the setting's name."""
    kind = settings.get("rope_type", settings.get("type", "default"))
    if kind not in KINDS:
        message = f"{rope.where}: rope_type {kind} is not supported"
        raise CheckpointError("open checkpoint", message, _UNKNOWN)
    if kind == "default":
        return Stretch()
    factor = _number(settings, "factor", rope)
    if kind == "linear":
        return Stretch((factor,) * (rope.head_dim // 2))
    if kind == "llama3":
        return Stretch(_tuple(_llama3(settings, rope, factor)))
    return Stretch(_tuple(_yarn(settings, rope, factor)), _yarn_magnitude(settings, rope, factor))


def _llama3(settings: Mapping[str, object], rope: Rope, factor: float) -> NDArray[np.float64]:
    """Long wavelengths are stretched whole, short ones not, those between in proportion."""
    low, high = (_number(settings, f"{end}_freq_factor", rope) for end in ("low", "high"))
    if not low < high:
        message = f"{rope.where}: low_freq_factor {low} is not below high_freq_factor {high}"
        raise CheckpointError("open checkpoint", message, _MALFORMED)
    turns = _number(settings, "original_max_position_embeddings", rope) * _angles(rope) / (2 * math.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    divisors: NDArray[np.float64] = 1 / ((1 - kept) / factor + kept)
    return divisors


def _yarn(settings: Mapping[str, object], rope: Rope, factor: float) -> NDArray[np.float64]:
    """Pairs that turn often within the original length are kept, those that turn seldom are stretched."""
    original = _number(settings, "original_max_position_embeddings", rope, rope.max_position)
    fast, slow = _number(settings, "beta_fast", rope, 32), _number(settings, "beta_slow", rope, 1)

    def pair(turns: float) -> float:
        return rope.head_dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    first, last = max(math.floor(pair(fast)), 0), min(math.ceil(pair(slow)), rope.head_dim - 1)
    width = max(last - first, 0.001)
    stretched = np.clip((np.arange(rope.head_dim // 2) - first) / width, 0, 1)
    divisors: NDArray[np.float64] = 1 / (stretched / factor + 1 - stretched)
    return divisors


def _yarn_magnitude(settings: Mapping[str, object], rope: Rope, factor: float) -> float:
    """`attention_factor` is the factor itself; `attn_factor` scales what follows from the stretch."""
    by_length = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    scaled = by_length * _number(settings, "attn_factor", rope, 1)
    return _number(settings, "attention_factor", rope, scaled)


def _angles(rope: Rope) -> NDArray[np.float64]:
    """What each pair turns by from one position to the next, unstretched."""
    exponents = -np.arange(0, rope.head_dim, 2) / rope.head_dim
    return np.asarray(rope.theta**exponents, np.float64)


def _tuple(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _number(settings: Mapping[str, object], key: str, rope: Rope, default: float | None = None) -> float:
    found = settings.get(key)
    value = default if found is None else found
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        message = f"{rope.where}: {key} is {'missing' if value is None else value}"
        raise CheckpointError("open checkpoint", message, _MALFORMED)
    return float(value)
