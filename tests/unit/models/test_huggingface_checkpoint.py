from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.unit.models.tiny_checkpoints import DTYPES, Tiny, hf_name, write_huggingface

from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import CheckpointError


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert caught.value.hint, "every refusal says what to do"
    return caught.value


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shards", [1, 4])
def test_every_tensor_comes_back(tmp_path, kind: str, shards: int) -> None:
    tiny = Tiny("llama", tied=False, bias=True, o_bias=True)
    checkpoint = open_checkpoint(write_huggingface(tmp_path, tiny, kind, shards=shards))
    for name, values in tiny.values.items():
        expected = values.astype(DTYPES[kind]).astype(np.float32)
        found = checkpoint.rows(name, 1, 17)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected[1:17]), name
    assert len(checkpoint.files()) == 1 + shards


def test_geometry_from_config(tmp_path) -> None:
    config = {
        "rope_theta": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
        "head_dim": None,
    }
    checkpoint = open_checkpoint(write_huggingface(tmp_path, Tiny("qwen2"), config=config))
    assert checkpoint.architecture.geometry.rope_theta == 5e5
    assert checkpoint.architecture.geometry.head_dim == 16
    assert checkpoint.architecture.qkv_bias
    assert not checkpoint.architecture.o_bias


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "mixtral"}, "model_type mixtral is not supported"),
        ({"model_type": None}, "model_type is missing"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types are full_attention, sliding"),
        ({"num_hidden_layers": 10**9}, "layers is 1000000000, at most 1024"),
        ({"vocab_size": 300}, "model.embed_tokens.weight is (269, 64), expected (300, 64)"),
        ({"model_type": "qwen3", "head_dim": 16}, "self_attn.q_norm.weight is missing"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor is missing"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor is 0"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "factor is missing"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "rope_type dynamic is not supported"),
        ({"rope_scaling": {"type": "longrope"}}, "rope_type longrope is not supported"),
        ({"rope_scaling": "yarn"}, "rope_scaling is yarn"),
        ({"rope_theta": "1e6"}, "rope_theta is 1e6"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is small"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"hidden_act": "gelu"}, "hidden_act = gelu"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"num_attention_heads": "4"}, "num_attention_heads is 4"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"num_hidden_layers": 0}, "layers is 0"),
        ({"num_hidden_layers": 3}, "model.layers.2.input_layernorm.weight is missing"),
        ({"intermediate_size": 95}, "mlp.gate_proj.weight is (96, 64), expected (95, 64)"),
        ({"tie_word_embeddings": False}, "lm_head.weight is missing"),
    ],
)
def test_refusals_name_the_setting(tmp_path, config, named: str) -> None:
    assert named in refusal(write_huggingface(tmp_path, Tiny("qwen2"), config=config)).message


def test_missing_files_are_named(tmp_path) -> None:
    path = write_huggingface(tmp_path / "hf", Tiny("qwen2"), shards=2)
    (path / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors is missing" in refusal(path).message
    (path / "config.json").write_text("[1")
    assert "config.json" in refusal(path).message
    (path / "config.json").unlink()
    assert "config.json is missing" in refusal(path).message


def test_missing_tensor_is_named_as_in_the_file(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"), drop="layers.1.q_proj.bias")
    assert hf_name("layers.1.q_proj.bias") in refusal(path).message


def test_layers_with_more_than_the_architecture_computes_are_refused(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen3"), config={"model_type": "llama", "attention_bias": False})
    found = refusal(path)
    assert "self_attn.k_norm.weight has no place in a llama model" in found.message
    assert "docs/models.md" in found.hint


@pytest.mark.parametrize("weight_map", [None, {}, [], {"a": 1}, {"a": "../model.safetensors"}])
def test_an_index_that_names_no_files_is_refused(tmp_path, weight_map) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"))
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "weight_map does not name" in refusal(path).message


def test_a_shard_without_its_tensor_names_the_tensor(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"), shards=2)
    shutil.copy(path / "model-00001-of-00002.safetensors", path / "model-00002-of-00002.safetensors")
    message = refusal(path).message
    assert "tensor model." in message
    assert "is missing" in message


def test_weights_in_a_type_for_something_else_are_refused(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"))
    tensors = load_file(path / "model.safetensors")
    name = hf_name("layers.1.up_proj")
    save_file(tensors | {name: tensors[name].astype(np.uint8)}, path / "model.safetensors")
    found = refusal(path)
    assert f"tensor {name} has type U8" in found.message
    assert "BF16, F16 or F32" in found.hint


def test_a_truncated_shard_names_the_tensor_and_how_far_it_goes(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2"))
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:-4])
    message = refusal(path).message
    assert f"ends at byte {len(whole)} of {len(whole) - 4}" in message
    assert "tensor model." in message


@pytest.mark.parametrize("size", [0, 5, 100, 20000, -10])
def test_truncated_weights(tmp_path, size: int) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2")) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert "model.safetensors" in refusal(tmp_path).message


def test_unsupported_type_is_named(tmp_path) -> None:
    write_huggingface(tmp_path, Tiny("qwen2"))
    save_file({"a": np.zeros(3, np.int64)}, tmp_path / "model.safetensors")
    found = refusal(tmp_path)
    assert "tensor a has type I64" in found.message
    assert "BF16, F16 or F32" in found.hint


def test_a_header_beyond_the_formats_bound_is_not_read(tmp_path) -> None:
    path = write_huggingface(tmp_path, Tiny("qwen2")) / "model.safetensors"
    path.write_bytes((100_000_001).to_bytes(8, "little"))
    assert "a header of 100000001 bytes" in refusal(tmp_path).message


def test_malformed_header(tmp_path) -> None:
    write_huggingface(tmp_path, Tiny("qwen2"))
    for header in ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, {"a": 1}, []):
        text = json.dumps(header).encode()
        (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
        assert "model.safetensors" in refusal(tmp_path).message
