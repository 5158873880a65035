"""The canonical form of a decoder's weights: names, shapes, row order. Knows no file format.

Names: `embed`, `norm`, `head` (when untied) and for each layer `layers.{i}.` with `attn_norm`, `q_proj`,
`k_proj`, `v_proj`, `o_proj`, `mlp_norm`, `gate_proj`, `up_proj`, `down_proj`; biases end in `.bias`; and
`q_norm`, `k_norm` where each head's query and key are normed before they turn.
Matrices are [outputs, inputs]; the rows of q and k stand as Hugging Face has them (rotary halves).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Geometry
from lineside_models.errors import CheckpointError

FAMILIES = ("llama", "qwen2", "qwen3")
MAX_LAYERS = 1024


class Architecture(msgspec.Struct, frozen=True):
    """What the decoder's graph depends on, besides the weights."""

    family: str
    geometry: Geometry
    qkv_bias: bool
    o_bias: bool
    qk_norm: bool
    max_position: int


class Checkpoint(Protocol):
    """An open checkpoint whose tensors were all found with the right shapes."""

    @property
    def path(self) -> Path:
        """The file or directory."""

    @property
    def architecture(self) -> Architecture:
        """Family and sizes."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """The checkpoint's own key-value pairs: GGUF metadata, or config.json."""

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop` of a tensor by its canonical name, as float32."""

    def own_name(self, name: str) -> str:
        """What the file itself calls a tensor, for messages."""

    def files(self) -> list[Path]:
        """Every file whose bytes decide the weights, in a fixed order."""


def tensor_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that the architecture needs, by canonical name."""
    g = architecture.geometry
    query, keys = g.heads * g.head_dim, g.kv_heads * g.head_dim
    shapes: dict[str, tuple[int, ...]] = {"embed": (g.vocab_size, g.hidden), "norm": (g.hidden,)}
    if not g.tied_head:
        shapes["head"] = (g.vocab_size, g.hidden)
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm": (g.hidden,),
        "q_proj": (query, g.hidden),
        "k_proj": (keys, g.hidden),
        "v_proj": (keys, g.hidden),
        "o_proj": (g.hidden, query),
        "mlp_norm": (g.hidden,),
        "gate_proj": (g.intermediate, g.hidden),
        "up_proj": (g.intermediate, g.hidden),
        "down_proj": (g.hidden, g.intermediate),
    }
    if architecture.qkv_bias:
        layer |= {"q_proj.bias": (query,), "k_proj.bias": (keys,), "v_proj.bias": (keys,)}
    if architecture.o_bias:
        layer["o_proj.bias"] = (g.hidden,)
    if architecture.qk_norm:
        layer |= {"q_norm": (g.head_dim,), "k_norm": (g.head_dim,)}
    for index in range(g.layers):
        shapes |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
    return shapes


def parameter_count(architecture: Architecture) -> int:
    """Number of trained values."""
    return sum(int(np.prod(shape)) for shape in tensor_shapes(architecture).values())


def check_geometry(geometry: Geometry, path: Path) -> None:
    """Refuse sizes that no decoder can have."""
    for name, value in msgspec.structs.asdict(geometry).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 < value < math.inf:
            raise CheckpointError("open checkpoint", f"{path}: {name} is {value}", CONVERT_AGAIN)
    if geometry.layers > MAX_LAYERS:
        message = f"{path}: layers is {geometry.layers}, at most {MAX_LAYERS} are read"
        raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)
    if geometry.heads % geometry.kv_heads or geometry.head_dim % 2:
        message = (
            f"{path}: {geometry.heads} heads cannot share {geometry.kv_heads} key-value heads"
            f" of {geometry.head_dim}"
        )
        raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)


def check_tensors(
    architecture: Architecture, found: Mapping[str, tuple[int, ...]], own_names: Mapping[str, str], path: Path
) -> None:
    """Refuse a checkpoint that lacks a tensor or has one of another shape, naming it as the file does."""
    for name, shape in tensor_shapes(architecture).items():
        if name not in found:
            message = f"{path}: tensor {own_names.get(name, name)} is missing"
            raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)
        if found[name] != shape:
            message = f"{path}: tensor {own_names.get(name, name)} is {found[name]}, expected {shape}"
            raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)


def check_unused(family: str, layer_tensors: Iterable[str], used: Collection[str], path: Path) -> None:
    """Refuse a checkpoint whose layers have more than the architecture computes with."""
    for name in layer_tensors:
        if name not in used and not name.endswith("rotary_emb.inv_freq"):
            message = f"{path}: tensor {name} has no place in a {family} model"
            hint = "use a model of a supported architecture; see docs/models.md for what each of them reads"
            raise CheckpointError("open checkpoint", message, hint)


CONVERT_AGAIN = "fetch or convert the checkpoint again: this file is not what its own header says"
