"""The one description of the decoder that every lowering follows. Knows no target and no weight type."""

from __future__ import annotations

from lineside_models.checkpoint import Architecture
from lineside_models.graph.dialect import Dialect, PartDialect, Value


def describe(architecture: Architecture, dialect: Dialect) -> None:
    """Write the whole decoder in `dialect`.

    In the last layer nothing past the attention mixes positions, so only the wanted rows go on.
    """
    x = dialect.embed("embed")
    _finish(architecture, dialect, *_describe_layers(architecture, dialect, x, _all(architecture)))


def describe_part(architecture: Architecture, dialect: PartDialect, layers: range) -> None:
    """Write these layers alone, the embedding with the first and the logits with the last of all."""
    x = dialect.taken_over() if layers.start else dialect.embed("embed")
    x, update = _describe_layers(architecture, dialect, x, layers)
    if layers.stop == _all(architecture).stop:
        _finish(architecture, dialect, x, update)
    else:
        dialect.hand_over(x, update)


def _all(architecture: Architecture) -> range:
    return range(architecture.geometry.layers)


def _describe_layers(
    architecture: Architecture, dialect: Dialect, x: Value, layers: range
) -> tuple[Value, Value]:
    """The residual stream within the last of the layers, and what that layer still adds to it."""
    normed, update = dialect.norm(x, f"layers.{layers.start}.attn_norm"), ""
    for layer in layers:
        prefix = f"layers.{layer}."
        if layer > layers.start:
            normed, x = dialect.add_norm(x, update, prefix + "attn_norm")
        attended = dialect.attend(dialect.linear(normed, prefix + "qkv"), layer)
        if layer == _all(architecture)[-1]:
            attended, x = dialect.wanted_rows(attended), dialect.wanted_rows(x)
        normed, x = dialect.add_norm(x, dialect.linear(attended, prefix + "o_proj"), prefix + "mlp_norm")
        update = dialect.linear(dialect.gated_linear(normed, prefix + "gate_up"), prefix + "down_proj")
    return x, update


def _finish(architecture: Architecture, dialect: Dialect, x: Value, update: Value) -> None:
    normed, _ = dialect.add_norm(x, update, "norm")
    dialect.logits(dialect.linear(normed, "embed" if architecture.geometry.tied_head else "head"))
