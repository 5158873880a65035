"""What a lowering must offer to the decoder's description. Knows no target."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Geometry

Value = str  # the name of a value in the graph


class Dialect(Protocol):
    """One target's way to write the decoder's few operations.

    Weights are named as in the store; the lowering decides how they are read (quantised or not, fused or as
    parts of the same bytes) and which inputs and outputs its graph has besides the decoder's own.
    """

    def embed(self, table: str) -> Value:
        """The input tokens' embeddings."""

    def norm(self, x: Value, weight: str) -> Value:
        """Root mean square norm."""

    def add_norm(self, x: Value, update: Value, weight: str) -> tuple[Value, Value]:
        """The norm of x + update, and x + update."""

    def linear(self, x: Value, matrix: str) -> Value:
        """x times the matrix transposed, plus its bias where the store has one."""

    def gated_linear(self, x: Value, matrix: str) -> Value:
        """silu(gate) * up, where the matrix holds the rows of gate, then those of up."""

    def attend(self, qkv: Value, layer: int) -> Value:
        """Norm q and k where the store has norms for them, rotate them, extend the cache, attend causally."""

    def wanted_rows(self, x: Value) -> Value:
        """Only the positions whose logits are wanted: [rows, width]."""

    def logits(self, x: Value) -> None:
        """Make x the graph's output."""


class PartDialect(Dialect, Protocol):
    """One that can also write a part of the decoder into a graph of its own."""

    def taken_over(self) -> Value:
        """The residual stream that the part before this one handed over."""

    def hand_over(self, x: Value, update: Value | None) -> None:
        """Make x, with what is still to be added to it, an output for the next part to take over."""


def rotary_caches(geometry: Geometry, positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines of the rotary angles, [positions, head_dim / 2]."""
    exponents = -np.arange(0, geometry.head_dim, 2, dtype=np.float64) / geometry.head_dim
    angles = np.arange(positions)[:, None] * geometry.rope_theta**exponents
    if geometry.rope_divisors:
        angles = angles / np.array(geometry.rope_divisors)
    cos, sin = np.cos(angles), np.sin(angles)
    return (cos * geometry.rope_magnitude).astype(np.float32), (sin * geometry.rope_magnitude).astype(
        np.float32
    )
