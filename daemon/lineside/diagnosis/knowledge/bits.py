"""Counts bits. Knows not what they stand for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def ones(numbers: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    """How many bits are set in each of a row of numbers."""
    # Numpy counts by itself from 2.0 on.
    if hasattr(np, "bitwise_count"):
        counted: NDArray[np.uint8] = np.bitwise_count(numbers)
        return counted
    found: NDArray[np.uint8] = _ONES[numbers.reshape(-1, 1).view(np.uint8)].sum(axis=1, dtype=np.uint8)
    return found
