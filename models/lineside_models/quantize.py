"""Blocks of 32 values along a row, or whole rows, become integers and one scale. Knows no file and no graph.

Symmetric: value = (stored - zero point) * scale, zero point 128 or 8, scales positive (TensorRT wants that).
The layout is that of ONNX Runtime's MatMulNBits: [rows, blocks, bytes], two 4-bit values a byte, low first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lineside.engine.weights import BLOCK

_INT4_CANDIDATES = 13
_SMALLEST = 1e-30  # below this a block counts as zeros: its inverse would not fit

Quantised = tuple[NDArray[np.uint8], NDArray[np.float32]]


def quantise(values: NDArray[np.float32], bits: int) -> Quantised:
    """Quantise rows; the length of a row is a multiple of BLOCK."""
    blocks = values.reshape(values.shape[0], -1, BLOCK)
    return _int8(blocks) if bits == 8 else _int4(blocks)


def quantise_rows(values: NDArray[np.float32]) -> Quantised:
    """As `quantise` in 8 bits, with one scale for each row: [rows, 1]."""
    rows, columns = values.shape
    stored, scale = _int8(values[:, None])
    return stored.reshape(rows, columns // BLOCK, BLOCK), scale


def _int8(blocks: NDArray[np.float32]) -> Quantised:
    scale = np.maximum(blocks.max(axis=-1), -blocks.min(axis=-1)) / np.float32(127)
    stored = blocks * _inverse(scale)[..., None]
    np.rint(stored, out=stored)
    stored += 128
    return stored.astype(np.uint8), _positive(scale)


def _int4(blocks: NDArray[np.float32]) -> Quantised:
    best, scale = search_int4(blocks)
    stored = (best + 8).astype(np.uint8)
    packed = np.bitwise_or(stored[..., 0::2], np.left_shift(stored[..., 1::2], 4), dtype=np.uint8)
    return packed, _positive(scale)


def search_int4(
    blocks: NDArray[np.float32], importance: NDArray[np.float32] | float = 1.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers from -8 to 7 and a scale for each block, along the last axis. A block of zeros has scale 0.

    Try some steps around the largest value and keep, for each block, that of the least square error.
    Errors count by `importance` times |w| + rms(w): large values matter more (perplexities in scripts/proof).
    For integers q the best scale is <w, q> / <q, q>, which leaves an error of <w, w> - <w, q>^2 / <q, q>.
    """
    largest = np.abs(blocks).max(axis=-1)
    units = blocks * _inverse(largest)[..., None]
    weights = (np.abs(units) + np.sqrt(np.square(units).mean(axis=-1, keepdims=True))) * importance
    gain = np.full(largest.shape, -1, np.float32)
    scale = np.zeros_like(largest)
    best = np.zeros(blocks.shape, np.int8)
    for steps in np.linspace(5.6, 8.6, _INT4_CANDIDATES, dtype=np.float32):
        trial = np.clip(np.rint(units * steps), -8, 7)
        weighted = weights * trial
        along = np.einsum("nbk,nbk->nb", weighted, units)
        candidate = along * _inverse(np.einsum("nbk,nbk->nb", weighted, trial))
        better = along * candidate > gain
        gain = np.where(better, along * candidate, gain)
        scale = np.where(better, candidate * largest, scale)
        np.copyto(best, trial.astype(np.int8), where=better[..., None])
    return best, scale


def _inverse(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > _SMALLEST)
    return np.asarray(inverse, np.float32)


def _positive(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """A block of zeros has no scale of its own; any positive one gives zeros."""
    return np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
