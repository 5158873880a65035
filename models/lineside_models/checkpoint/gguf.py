"""A GGUF file as a checkpoint: names, geometry and the row order of llama's q and k.

Knows nothing of the container's bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Geometry
from lineside_models.checkpoint.base import (
    CONVERT_AGAIN,
    FAMILIES,
    Architecture,
    check_geometry,
    check_tensors,
    check_unused,
    tensor_shapes,
)
from lineside_models.checkpoint.container import GgufFile, read_gguf
from lineside_models.checkpoint.rope import Rope, Stretch, stretch_of
from lineside_models.errors import CheckpointError

_GLOBAL = {"embed": "token_embd.weight", "norm": "output_norm.weight", "head": "output.weight"}
_LAYER = {
    "attn_norm": "attn_norm.weight",
    "q_proj": "attn_q.weight",
    "k_proj": "attn_k.weight",
    "v_proj": "attn_v.weight",
    "o_proj": "attn_output.weight",
    "mlp_norm": "ffn_norm.weight",
    "gate_proj": "ffn_gate.weight",
    "up_proj": "ffn_up.weight",
    "down_proj": "ffn_down.weight",
    "q_proj.bias": "attn_q.bias",
    "k_proj.bias": "attn_k.bias",
    "v_proj.bias": "attn_v.bias",
    "o_proj.bias": "attn_output.bias",
    "q_norm": "attn_q_norm.weight",
    "k_norm": "attn_k_norm.weight",
}


@dataclass(frozen=True, slots=True)
class GgufCheckpoint:
    """A GGUF file whose tensors are read by canonical name."""

    file: GgufFile
    architecture: Architecture

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    @property
    def metadata(self) -> Mapping[str, object]:
        """GGUF metadata."""
        return self.file.metadata

    def own_name(self, name: str) -> str:
        """The tensor's name in the file."""
        return _own_name(name)

    def files(self) -> list[Path]:
        """The one file."""
        return [self.file.path]

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows in Hugging Face's order, as float32."""
        own, size = _own_name(name), self.architecture.geometry.head_dim
        if not self._is_interleaved(name):
            return self.file.rows(own, start, stop)
        first, last = start // size, -(-stop // size)  # the heads that hold these rows
        whole_heads = self.file.rows(own, first * size, last * size)
        return _halves(whole_heads, last - first)[start - first * size : stop - first * size]

    def _is_interleaved(self, name: str) -> bool:
        """Whether rotary pairs stand side by side in each head: GGUF's order for llama's q and k."""
        part = name.removesuffix(".bias").rpartition(".")[2]
        return self.architecture.family == "llama" and part in ("q_proj", "k_proj")


def _halves(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """From rotary pairs side by side to first halves, then second halves, within each head."""
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    halves: NDArray[np.float32] = pairs.swapaxes(1, 2).reshape(values.shape)
    return halves


def open_gguf(path: Path) -> GgufCheckpoint:
    """Open a GGUF file and check that it holds a decoder that we know, whole. Raises CheckpointError."""
    file = read_gguf(path)
    architecture = _architecture(file)
    own_names = {name: _own_name(name) for name in tensor_shapes(architecture)}
    found = {name: file.tensors[own].shape for name, own in own_names.items() if own in file.tensors}
    check_tensors(architecture, found, own_names, path)
    layer_tensors = (name for name in file.tensors if name.startswith("blk."))
    check_unused(architecture.family, layer_tensors, set(own_names.values()), path)
    return GgufCheckpoint(file, architecture)


def _own_name(name: str) -> str:
    if name in _GLOBAL:
        return _GLOBAL[name]
    _, layer, part = name.split(".", 2)
    return f"blk.{layer}.{_LAYER[part]}"


def _architecture(file: GgufFile) -> Architecture:
    family = str(file.metadata.get("general.architecture"))
    if family not in FAMILIES:
        message = f"{file.path}: architecture {family} is not supported"
        raise CheckpointError("open checkpoint", message, f"use a model of {' or '.join(FAMILIES)}")
    hidden, heads = (
        _integer(file, f"{family}.embedding_length"),
        _integer(file, f"{family}.attention.head_count"),
    )
    head_dim = _integer(file, f"{family}.attention.key_length", hidden // max(heads, 1))
    theta = _number(file, f"{family}.rope.freq_base", 10000.0)
    max_position = _integer(file, f"{family}.context_length")
    stretch = _stretch(file, family, Rope(head_dim, theta, max_position, str(file.path)))
    geometry = Geometry(
        layers=_integer(file, f"{family}.block_count"),
        hidden=hidden,
        intermediate=_integer(file, f"{family}.feed_forward_length"),
        heads=heads,
        kv_heads=_integer(file, f"{family}.attention.head_count_kv", heads),
        head_dim=head_dim,
        vocab_size=file.tensors["token_embd.weight"].shape[0] if "token_embd.weight" in file.tensors else 0,
        rope_theta=theta,
        norm_eps=_number(file, f"{family}.attention.layer_norm_rms_epsilon"),
        tied_head="output.weight" not in file.tensors,
        rope_divisors=stretch.divisors,
        rope_magnitude=stretch.magnitude,
    )
    check_geometry(geometry, file.path)
    rotary = _integer(file, f"{family}.rope.dimension_count", head_dim)
    if rotary != head_dim:
        message = f"{file.path}: {family}.rope.dimension_count is {rotary}, only {head_dim} is supported"
        raise CheckpointError("open checkpoint", message, "use a model whose whole head is rotated")
    return Architecture(
        family=family,
        geometry=geometry,
        qkv_bias=family == "qwen2" or "blk.0.attn_q.bias" in file.tensors,
        o_bias="blk.0.attn_output.bias" in file.tensors,
        qk_norm=family == "qwen3",
        max_position=max_position,
    )


def _stretch(file: GgufFile, family: str, rope: Rope) -> Stretch:
    """Converters write Llama 3's divisors as a tensor, the other kinds as metadata."""
    if "rope_freqs.weight" in file.tensors:
        return _stored_divisors(file, rope)
    prefix = f"{family}.rope.scaling."
    given = {
        key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)
    }
    kind = given.get("type", "none")
    names = {"original_context_length": "original_max_position_embeddings"}
    settings = {names.get(key, key): value for key, value in given.items() if key != "type"}
    return stretch_of({**settings, "rope_type": "default" if kind == "none" else kind}, rope)


def _stored_divisors(file: GgufFile, rope: Rope) -> Stretch:
    name = "rope_freqs.weight"
    shape, expected = file.tensors[name].shape, (rope.head_dim // 2,)
    if shape != expected:
        message = f"{file.path}: tensor {name} is {shape}, expected {expected}"
        raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)
    divisors = tuple(float(value) for value in file.rows(name, 0, expected[0]))
    if not all(0 < value < math.inf for value in divisors):
        message = f"{file.path}: tensor {name} holds values that are no divisors"
        raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)
    return Stretch(divisors)


def _number(file: GgufFile, key: str, default: float | None = None) -> float:
    value = file.metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"{file.path}: metadata {key} is {'missing' if value is None else value}"
        raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)
    return float(value)


def _integer(file: GgufFile, key: str, default: int | None = None) -> int:
    return int(_number(file, key, default))
