"""A Hugging Face directory as a checkpoint: config.json and safetensors, whole or in shards.

Knows nothing of the safetensors format's bytes, nor of torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engine.bundle import Geometry
from lineside.plain_files import read_plain
from lineside_models.checkpoint.base import (
    CONVERT_AGAIN,
    FAMILIES,
    Architecture,
    check_geometry,
    check_tensors,
    check_unused,
    tensor_shapes,
)
from lineside_models.checkpoint.rope import Rope, Stretch, stretch_of
from lineside_models.errors import CheckpointError
from lineside_models.safetensors_file import SafetensorsFile, read_safetensors

MAX_JSON_BYTES = 64 << 20  # of an index that names every tensor of every shard
_GLOBAL = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": "lm_head.weight"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "o_proj": "self_attn.o_proj",
    "mlp_norm": "post_attention_layernorm",
    "gate_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "down_proj": "mlp.down_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
}
_WEIGHT_TYPES = ("F32", "F16", "BF16")
# Settings that change the computation in a way that the graph does not have.
_ONLY: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "partial_rotary_factor": (1.0,),
    "quantization_config": (None,),
}


@dataclass(frozen=True, slots=True)
class HuggingFaceCheckpoint:
    """A directory whose tensors are read by canonical name."""

    path: Path
    architecture: Architecture
    metadata: Mapping[str, object]
    shards: dict[str, SafetensorsFile]

    def files(self) -> list[Path]:
        """config.json and every shard."""
        return [self.path / "config.json", *sorted({shard.path for shard in self.shards.values()})]

    def own_name(self, name: str) -> str:
        """The tensor's name in its shard."""
        return _own_name(name)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows of a tensor as float32."""
        own = _own_name(name)
        shard = self.shards[own]
        values = shard.array(own)[start:stop]
        if shard.entries[own].dtype == "BF16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def open_huggingface(path: Path) -> HuggingFaceCheckpoint:
    """Open a directory and check that it holds a decoder that we know, whole. Raises CheckpointError."""
    config = read_json(path / "config.json")
    shards = _open_shards(path)
    architecture = _architecture(config, path / "config.json")
    own_names = {name: _own_name(name) for name in tensor_shapes(architecture)}
    found = {name: shards[own].entries[own].shape for name, own in own_names.items() if own in shards}
    check_tensors(architecture, found, own_names, path)
    layer_tensors = (name for name in shards if name.startswith("model.layers."))
    check_unused(architecture.family, layer_tensors, set(own_names.values()), path)
    for own in own_names.values():
        if (kind := shards[own].entries[own].dtype) not in _WEIGHT_TYPES:
            message = f"{path}: tensor {own} has type {kind}, weights are {', '.join(_WEIGHT_TYPES)}"
            hint = "use the model's release in BF16, F16 or F32: quantised releases are not read"
            raise CheckpointError("open checkpoint", message, hint)
    return HuggingFaceCheckpoint(path, architecture, config, shards)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError."""
    try:
        value = json.loads(read_plain(path, MAX_JSON_BYTES))
    except FileNotFoundError:
        hint = "give the directory that holds config.json, *.safetensors and tokenizer.json"
        raise CheckpointError("open checkpoint", f"{path} is missing", hint) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError("open checkpoint", f"{path}: {error}", CONVERT_AGAIN) from error
    if not isinstance(value, dict):
        raise CheckpointError("open checkpoint", f"{path} is not a JSON object", CONVERT_AGAIN)
    return value


def _own_name(name: str) -> str:
    if name in _GLOBAL:
        return _GLOBAL[name]
    _, layer, part = name.split(".", 2)
    part, _, bias = part.partition(".")
    return f"model.layers.{layer}.{_LAYER[part]}.{bias or 'weight'}"


def _open_shards(path: Path) -> dict[str, SafetensorsFile]:
    """The file that holds each tensor, by the checkpoint's own names."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = _shard_names(read_json(index).get("weight_map"), index)
    else:
        names = ["model.safetensors"]
    for name in names:
        if not (path / name).is_file():
            hint = "fetch every shard; weights in other formats (.bin, .pt) are not read"
            raise CheckpointError("open checkpoint", f"{path / name} is missing", hint)
    files = [read_safetensors(path / name) for name in names]
    return {tensor: file for file in files for tensor in file.entries}


def _shard_names(weight_map: object, index: Path) -> list[str]:
    """The files that an index names; they lie beside it."""
    names = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        message = f"{index}: weight_map does not name the file of each tensor"
        raise CheckpointError("open checkpoint", message, "fetch the index again")
    return sorted(names)


def _architecture(config: Mapping[str, Any], path: Path) -> Architecture:
    family = config.get("model_type")
    if family not in FAMILIES:
        message = (
            f"{path}: model_type is missing"
            if family is None
            else f"{path}: model_type {family} is not supported"
        )
        raise CheckpointError("open checkpoint", message, f"use a model of {' or '.join(FAMILIES)}")
    _refuse_unsupported(config, path)

    def size(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int):
            message = f"{path}: {key} is {'missing' if value is None else value}"
            raise CheckpointError("open checkpoint", message, CONVERT_AGAIN)
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    head_dim, max_position = size("head_dim", hidden // max(heads, 1)), size("max_position_embeddings")
    theta, stretch = _rope(config, head_dim, max_position, path)
    geometry = Geometry(
        layers=size("num_hidden_layers"),
        hidden=hidden,
        intermediate=size("intermediate_size"),
        heads=heads,
        kv_heads=size("num_key_value_heads", heads),
        head_dim=head_dim,
        vocab_size=size("vocab_size"),
        rope_theta=theta,
        norm_eps=_number(config, "rms_norm_eps", 1e-6, path),
        tied_head=bool(config.get("tie_word_embeddings", False)),
        rope_divisors=stretch.divisors,
        rope_magnitude=stretch.magnitude,
    )
    check_geometry(geometry, path)
    attention_bias = bool(config.get("attention_bias", False))
    return Architecture(
        family=family,
        geometry=geometry,
        qkv_bias=family == "qwen2" or attention_bias,
        o_bias=family != "qwen2" and attention_bias,
        qk_norm=family == "qwen3",
        max_position=max_position,
    )


def _rope(config: Mapping[str, Any], head_dim: int, max_position: int, path: Path) -> tuple[float, Stretch]:
    """Base and stretch: older configurations say them apart, newer ones in one table."""
    for key in ("rope_parameters", "rope_scaling"):
        if not isinstance(config.get(key) or {}, dict):
            raise CheckpointError("open checkpoint", f"{path}: {key} is {config[key]}", CONVERT_AGAIN)
    settings = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    theta = _number(settings if "rope_theta" in settings else config, "rope_theta", 10000.0, path)
    return theta, stretch_of(settings, Rope(head_dim, theta, max_position, str(path)))


def _number(config: Mapping[str, Any], key: str, default: float, path: Path) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError("open checkpoint", f"{path}: {key} is {value}", CONVERT_AGAIN)
    return float(value)


def _refuse_unsupported(config: Mapping[str, Any], path: Path) -> None:
    kinds = config.get("layer_types") or ()
    if any(kind != "full_attention" for kind in kinds):
        message = f"{path}: layer_types are {', '.join(sorted({str(kind) for kind in kinds}))}"
        raise CheckpointError(
            "open checkpoint", message, "use a model whose layers are all of full_attention"
        )
    for key, allowed in _ONLY.items():
        if key in config and config[key] not in allowed:
            message = f"{path}: {key} = {config[key]} is not supported"
            raise CheckpointError("open checkpoint", message, f"use a model with {key} = {allowed[0]}")
