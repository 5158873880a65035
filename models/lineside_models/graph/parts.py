"""Which of a decoder's layers a graph has. Knows no target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A graph of some of the decoder's layers.

    `begins`: with the embedding; `ends`: with the last norm and the logits. `repeats` over 1: the graph is
    that of any layer, written as layer 0. It runs so often in a row, each time with the next layer's weights
    and cache, and has all its weights as inputs.
    """

    layers: range
    begins: bool = False
    ends: bool = False
    repeats: int = 1


def whole(layers: int) -> tuple[Part, ...]:
    """All layers in one graph."""
    return (Part(range(layers), begins=True, ends=True),)


def layer_by_layer(layers: int) -> tuple[Part, ...]:
    """The embedding, one graph for every layer, and what follows the last."""
    nothing = range(0)
    return (Part(nothing, begins=True), Part(range(1), repeats=layers), Part(nothing, ends=True))


def in_groups(layers: int, size: int) -> tuple[Part, ...]:
    """The embedding, `size` layers each, of which what is left over comes first, and what follows the last.

    In one part with four layers what follows the last took TensorRT 8.6 162 s of a 1.5B model's INT8 step,
    and 8 s alone, in FP16 (measured, H100).
    """
    ends, nothing = range(layers, 0, -size), range(0)
    groups = [Part(range(max(end - size, 0), end)) for end in reversed(ends)]
    return (Part(nothing, begins=True), *groups, Part(nothing, ends=True))
