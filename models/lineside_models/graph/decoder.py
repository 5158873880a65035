"""The one description of the decoder that every lowering follows. Knows no target and no weight type."""

from __future__ import annotations

from lineside_models.checkpoint import Architecture
from lineside_models.graph.dialect import Dialect, PartDialect, Value
from lineside_models.graph.parts import Part, whole


def describe(architecture: Architecture, dialect: Dialect) -> None:
    """Write the whole decoder in `dialect`.

    In the last layer nothing past the attention mixes positions, so only the wanted rows go on.
    """
    (everything,) = whole(architecture.geometry.layers)
    x = dialect.embed("embed")
    _finish(architecture, dialect, *_describe_layers(dialect, x, everything))


def describe_part(architecture: Architecture, dialect: PartDialect, part: Part) -> None:
    """Write what `part` names alone."""
    x = dialect.embed("embed") if part.begins else dialect.taken_over()
    x, update = _describe_layers(dialect, x, part)
    if part.ends:
        _finish(architecture, dialect, x, update)
    else:
        dialect.hand_over(x, update)


def _describe_layers(dialect: Dialect, x: Value, part: Part) -> tuple[Value, Value | None]:
    """The residual stream within the last of the layers, and what that layer still adds to it."""
    update = None
    for layer in part.layers:
        prefix = f"layers.{layer}."
        normed, x = _normed(dialect, x, update, prefix + "attn_norm")
        attended = dialect.attend(dialect.linear(normed, prefix + "qkv"), layer)
        if part.ends and layer == part.layers[-1]:
            attended, x = dialect.wanted_rows(attended), dialect.wanted_rows(x)
        normed, x = dialect.add_norm(x, dialect.linear(attended, prefix + "o_proj"), prefix + "mlp_norm")
        update = dialect.linear(dialect.gated_linear(normed, prefix + "gate_up"), prefix + "down_proj")
    if part.ends and not part.layers:
        x = dialect.wanted_rows(x)
    return x, update


def _normed(dialect: Dialect, x: Value, update: Value | None, weight: str) -> tuple[Value, Value]:
    """The norm of the stream with its update, where it has one, and the stream."""
    return (dialect.norm(x, weight), x) if update is None else dialect.add_norm(x, update, weight)


def _finish(architecture: Architecture, dialect: Dialect, x: Value, update: Value | None) -> None:
    normed, _ = _normed(dialect, x, update, "norm")
    dialect.logits(dialect.linear(normed, "embed" if architecture.geometry.tied_head else "head"))
