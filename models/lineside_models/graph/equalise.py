"""Channel scales folded into the weights around them. Knows no precision and no graph.

Multiplying a matrix's columns and dividing its input's channels by the same numbers changes no result and
makes both easier to round. The division goes into what produces the input: the norm's weight before qkv and
gate_up, the rows of v before o_proj, the rows of up before down_proj.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Geometry

_NORM_BEFORE = {"qkv": "attn_norm", "gate_up": "mlp_norm"}


@dataclass(frozen=True, slots=True)
class Equaliser:
    """Channel scales by matrix: what multiplies its columns and divides its input's channels.

    `apart`: channels of the input whose part of the product is computed as it is, not in integers.
    """

    geometry: Geometry
    channels: Mapping[str, NDArray[np.float32]]
    apart: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def scaled(self, name: str, values: NDArray[np.float32], start: int = 0) -> NDArray[np.float32]:
        """Values of a matrix or vector with the scales folded in, from its row `start` on."""
        if name in self.channels:
            values = values * self.channels[name]
        divisor = self._divisor(name)
        if divisor is None:
            return values
        divisor = divisor[start : start + len(values)]
        return values / (divisor if values.ndim == 1 else divisor[:, None])

    def _divisor(self, name: str) -> NDArray[np.float32] | None:
        """What the rows of a matrix, its bias, or a norm's weight are divided by."""
        prefix, _, part = name.removesuffix(".bias").rpartition(".")
        g = self.geometry
        if part == "qkv" and (scales := self.channels.get(f"{prefix}.o_proj")) is not None:
            shared = scales.reshape(g.kv_heads, -1, g.head_dim)[:, 0].reshape(-1)
            return np.concatenate([np.ones((g.heads + g.kv_heads) * g.head_dim, np.float32), shared])
        if part == "gate_up" and (scales := self.channels.get(f"{prefix}.down_proj")) is not None:
            return np.concatenate([np.ones(g.intermediate, np.float32), scales])
        for matrix, norm in _NORM_BEFORE.items():
            if part == norm:
                return self.channels.get(f"{prefix}.{matrix}")
        return None


def share_between_heads(scales: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Scales of o_proj's input, alike for the query heads that read one value head: the largest."""
    grouped = scales.reshape(geometry.kv_heads, -1, geometry.head_dim)
    largest = grouped.max(axis=1, keepdims=True)
    return np.broadcast_to(largest, grouped.shape).reshape(-1)
