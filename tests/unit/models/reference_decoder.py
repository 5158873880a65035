"""The decoder in float64 NumPy, from its published equations. Shares no code with the build step.

Takes float tensors by canonical name through `lookup`, one layer at a time, so that a real model fits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Lookup = Callable[[str], NDArray]
Array = NDArray[np.float64]
Rounding = Callable[[str, Array], Array]


def exact(_: str, x: Array) -> Array:
    return x


def reference_logits(
    geometry,
    lookup: Lookup,
    tokens: Sequence[int],
    rows: Sequence[int],
    rounding: Rounding = exact,
    *,
    rope=None,
) -> Array:
    """Logits at `rows` of one sequence, computed whole.

    `rope`: each pair's angle from one position to the next, and a factor, where positions are stretched.
    `rounding` is what a quantised model does to the input of a product, which is named by its first matrix.
    """

    def get(name: str) -> Array:
        return np.asarray(lookup(name), np.float64)

    x = np.asarray(lookup("embed")[list(tokens)], np.float64)
    cos, sin = angles(geometry, len(tokens), rope)
    for layer in range(geometry.layers):

        def part(name: str, layer: int = layer) -> Array:
            return get(f"layers.{layer}.{name}")

        def rounded(name: str, y: Array, layer: int = layer) -> Array:
            return rounding(f"layers.{layer}.{name}", y)

        y = rounded("q_proj", rms(x, part("attn_norm"), geometry.norm_eps))
        x = x + output(part, rounded("o_proj", attention(geometry, part, y, cos, sin)))
        y = rounded("gate_proj", rms(x, part("mlp_norm"), geometry.norm_eps))
        gate = y @ part("gate_proj").T
        y = rounded("down_proj", gate / (1 + np.exp(-gate)) * (y @ part("up_proj").T))
        x = x + y @ part("down_proj").T
    final = rms(x[list(rows)], get("norm"), geometry.norm_eps)
    head = "embed" if geometry.tied_head else "head"
    return rounding("head", final) @ get(head).T


def attention(geometry, part: Lookup, x: Array, cos: Array, sin: Array) -> Array:
    tokens = len(x)

    def project(name: str, heads: int) -> Array:
        y = x @ part(f"{name}_proj").T
        with contextlib.suppress(KeyError):
            y = y + part(f"{name}_proj.bias")
        y = y.reshape(tokens, heads, geometry.head_dim)
        with contextlib.suppress(KeyError):
            y = rms(y, part(f"{name}_norm"), geometry.norm_eps)
        return y.transpose(1, 0, 2)

    q = rotate(project("q", geometry.heads), cos, sin)
    k = rotate(project("k", geometry.kv_heads), cos, sin)
    v = project("v", geometry.kv_heads)
    share = geometry.heads // geometry.kv_heads
    mask = np.triu(np.full((tokens, tokens), -np.inf), 1)
    out = []
    for head in range(geometry.heads):
        scores = q[head] @ k[head // share].T / np.sqrt(geometry.head_dim) + mask
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out.append(weights / weights.sum(axis=-1, keepdims=True) @ v[head // share])
    return np.concatenate(out, axis=-1)


def output(part: Lookup, attended: Array) -> Array:
    joined = attended @ part("o_proj").T
    try:
        return joined + part("o_proj.bias")
    except KeyError:
        return joined


def angles(geometry, tokens: int, rope=None) -> tuple[Array, Array]:
    pair = np.arange(geometry.head_dim // 2)
    turns, factor = rope or (geometry.rope_theta ** (-2 * pair / geometry.head_dim), 1.0)
    angle = np.outer(np.arange(tokens), turns)
    return factor * np.cos(angle), factor * np.sin(angle)


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def rms(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight
