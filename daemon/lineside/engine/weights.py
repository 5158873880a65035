"""A bundle's weights in FP16, for plans that take them as inputs. Knows no device.

Reads the canonical store (weights.safetensors): float32, or blocks of 32 integers with a scale for each block
or for each row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "U8": np.dtype("u1")}
_ROWS = 4096  # at a time: what is computed in float32 stays small


class Weights:
    """The store, mapped into memory."""

    def __init__(self, path: Path) -> None:
        data = np.memmap(path, np.uint8, "r")
        header_len = int(data[:8].view("<u8")[0])
        self._entries: dict[str, Any] = json.loads(bytes(data[8 : 8 + header_len]))
        self._data = data[8 + header_len :]

    def __contains__(self, name: str) -> bool:
        """Whether there is a vector or float32 matrix of exactly this name."""
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows and columns of a matrix, or the length of a vector."""
        if name in self._entries:
            return tuple(self._entries[name]["shape"])
        rows, blocks, _ = self._entries[f"{name}.q"]["shape"]
        return rows, blocks * BLOCK

    def fp16(self, name: str) -> NDArray[np.float16]:
        """All values of a matrix or vector; of several vectors, with + between their names, in one."""
        if "+" in name:
            return np.concatenate([self.fp16(one) for one in name.split("+")])
        if name in self._entries:
            return self._array(name).astype(np.float16)
        stored, scale = self._array(f"{name}.q"), self._array(f"{name}.scale")
        values = np.empty(self.shape(name), np.float16)
        for start in range(0, len(values), _ROWS):
            rows = slice(start, start + _ROWS)
            values[rows] = dequantise(stored[rows], scale[rows])
        return values

    def _array(self, name: str) -> NDArray[Any]:
        entry = self._entries[name]
        start, end = entry["data_offsets"]
        values: NDArray[Any] = self._data[start:end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
        return values


def dequantise(stored: NDArray[np.uint8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values [rows, columns] of blocks [rows, blocks, bytes] with scales [rows, blocks] or [rows, 1].

    Two 4-bit values a byte, the low one first; zero is in the middle of what the bits can hold.
    """
    bits = stored.shape[-1] * 8 // BLOCK
    if bits == 4:
        stored = np.stack([stored & 15, stored >> 4], axis=-1).reshape(*stored.shape[:2], BLOCK)
    centred = stored.astype(np.float32) - np.float32(1 << (bits - 1))
    values: NDArray[np.float32] = (centred * scale[..., None]).reshape(len(scale), -1)
    return values
