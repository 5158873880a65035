"""The one description of the decoder that every lowering follows. Knows no target and no weight type."""

from __future__ import annotations

from lineside_models.checkpoint import Architecture
from lineside_models.graph.dialect import Dialect


def describe(architecture: Architecture, dialect: Dialect) -> None:
    """Write the whole decoder in `dialect`.

    In the last layer nothing past the attention mixes positions, so only the wanted rows go on.
    """
    layers = architecture.geometry.layers
    x = dialect.embed("embed")
    normed = dialect.norm(x, "layers.0.attn_norm")
    for layer in range(layers):
        prefix = f"layers.{layer}."
        attended = dialect.attend(dialect.linear(normed, prefix + "qkv"), layer)
        if layer == layers - 1:
            attended, x = dialect.wanted_rows(attended), dialect.wanted_rows(x)
        normed, x = dialect.add_norm(x, dialect.linear(attended, prefix + "o_proj"), prefix + "mlp_norm")
        update = dialect.linear(dialect.gated_linear(normed, prefix + "gate_up"), prefix + "down_proj")
        following = f"layers.{layer + 1}.attn_norm" if layer < layers - 1 else "norm"
        normed, x = dialect.add_norm(x, update, following)
    dialect.logits(dialect.linear(normed, "embed" if architecture.geometry.tied_head else "head"))
