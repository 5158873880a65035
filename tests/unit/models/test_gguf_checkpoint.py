from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.unit.models.tiny_checkpoints import VOCAB, Tiny, gguf_name, write_gguf, write_huggingface

from lineside_models.checkpoint import open_checkpoint
from lineside_models.checkpoint.container import SUPPORTED_TYPES
from lineside_models.errors import CheckpointError

# The library's own quantiser writes these; it only reads the K types.
WRITABLE = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert caught.value.hint, "every refusal says what to do"
    return caught.value


@pytest.mark.parametrize(
    "tiny", [Tiny("llama", bias=True, o_bias=True), Tiny("qwen2", tied=False)], ids=["llama", "qwen2"]
)
def test_every_tensor_comes_back_in_canonical_order(tmp_path, tiny: Tiny) -> None:
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", tiny))
    for name, values in tiny.values.items():
        assert np.array_equal(checkpoint.rows(name, 0, len(values)), values), name
        assert np.array_equal(checkpoint.rows(name, 3, 9), values[3:9]), name
        assert np.array_equal(checkpoint.rows(name, 21, 30), values[21:30]), name
    architecture = checkpoint.architecture
    assert architecture.geometry.tied_head is tiny.tied
    assert architecture.geometry.vocab_size == VOCAB
    assert (architecture.qkv_bias, architecture.o_bias) == (True, tiny.o_bias)
    assert architecture.max_position == tiny.positions


@pytest.mark.parametrize("kind", WRITABLE)
def test_quantised_types(tmp_path, kind: str) -> None:
    tiny = Tiny("llama")
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", tiny, kind))
    for name in ("layers.1.q_proj", "layers.0.down_proj", "embed"):
        values = tiny.values[name]
        step = np.abs(values).max() * {"F16": 0.001, "BF16": 0.01, "Q8_0": 0.01}.get(kind, 0.15)
        assert np.abs(checkpoint.rows(name, 0, len(values)) - values).max() < step


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "Q6_K"])
def test_k_quants_against_the_format_by_hand(tmp_path, kind: str) -> None:
    """Random blocks, dequantised a value at a time as the format's description says."""
    tiny = Tiny("qwen2", hidden=256, intermediate=256)
    path = tmp_path / "t.gguf"
    block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1]
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, (VOCAB, block_bytes), dtype=np.uint8)
    halves = np.float16([0.01, 0.02]).view(np.uint8)
    if kind == "Q6_K":
        raw[:, -2:] = halves[:2]
    else:
        raw[:, :4] = halves
    _write_with_raw_embedding(path, tiny, raw, kind)
    values = open_checkpoint(path).rows("embed", 0, VOCAB)
    by_hand = {"Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k}[kind]
    for row in (0, 17, VOCAB - 1):
        assert np.allclose(values[row], by_hand(raw[row].tolist()), atol=1e-4)


def _write_with_raw_embedding(path: Path, tiny: Tiny, raw: np.ndarray, kind: str) -> None:
    original = gguf.GGUFWriter.add_tensor

    def add(self, name, tensor, *args, **kwargs):
        if name == gguf_name("embed"):
            return original(self, name, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
        return original(self, name, tensor, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_tensor", add)
        write_gguf(path, tiny)


def _scale_and_min(scales: list[int], j: int) -> tuple[int, int]:
    if j < 4:
        return scales[j] & 63, scales[j + 4] & 63
    low, high = scales[j + 4] & 15, scales[j - 4] >> 6
    return low | high << 4, scales[j + 4] >> 4 | (scales[j] >> 6) << 4


def _q4_k(block: list[int]) -> list[float]:
    d, dmin = float(np.float16(0.01)), float(np.float16(0.02))
    out = []
    for j in range(8):
        scale, low = _scale_and_min(block[4:16], j)
        for i in range(32):
            byte = block[16 + 32 * (j // 2) + i]
            out.append(d * scale * (byte >> 4 if j % 2 else byte & 15) - dmin * low)
    return out


def _q5_k(block: list[int]) -> list[float]:
    d, dmin = float(np.float16(0.01)), float(np.float16(0.02))
    out = []
    for j in range(8):
        scale, low = _scale_and_min(block[4:16], j)
        for i in range(32):
            byte = block[48 + 32 * (j // 2) + i]
            value = (byte >> 4 if j % 2 else byte & 15) + 16 * (block[16 + i] >> j & 1)
            out.append(d * scale * value - dmin * low)
    return out


def _q6_k(block: list[int]) -> list[float]:
    d = float(np.float16(0.01))
    out = [0.0] * 256
    for half in range(2):
        for i in range(32):
            low = block[64 * half :]
            high = block[128 + 32 * half + i]
            scales = [s - 256 if s > 127 else s for s in block[192 + 8 * half : 200 + 8 * half]]
            parts = (low[i] & 15, low[i + 32] & 15, low[i] >> 4, low[i + 32] >> 4)
            for quarter, part in enumerate(parts):
                value = (part | (high >> 2 * quarter & 3) << 4) - 32
                out[128 * half + 32 * quarter + i] = d * scales[2 * quarter + i // 16] * value
    return out


def test_the_supported_types_are_those_of_the_manual() -> None:
    expected = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"}
    assert set(SUPPORTED_TYPES.values()) == expected


def test_unsupported_type_is_named(tmp_path) -> None:
    error = refusal(_retyped(tmp_path, 16))
    assert "IQ2_XXS" in error.message
    assert "Q4_K" in error.hint


def _retyped(tmp_path: Path, type_id: int) -> Path:
    """A file whose first tensor claims another type."""
    path = write_gguf(tmp_path / "t.gguf", Tiny("llama"))
    data = bytearray(path.read_bytes())
    name = gguf_name("embed").encode()
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    dimensions = struct.unpack_from("<I", data, at)[0]
    struct.pack_into("<I", data, at + 4 + 8 * dimensions, type_id)
    path.write_bytes(data)
    return path


def test_unknown_architecture(tmp_path) -> None:
    error = refusal(write_gguf(tmp_path / "t.gguf", Tiny("gemma", bias=False)))
    assert "gemma" in error.message
    assert "llama or qwen2" in error.hint


@pytest.mark.parametrize("name", ["norm", "layers.1.v_proj", "layers.0.k_proj.bias", "embed"])
def test_missing_tensor_is_named(tmp_path, name: str) -> None:
    error = refusal(write_gguf(tmp_path / "t.gguf", Tiny("qwen2"), drop=name))
    assert gguf_name(name) in error.message or "vocab_size" in error.message


def test_wrong_shape_is_named(tmp_path) -> None:
    tiny = Tiny("qwen2")
    tiny.values["layers.0.down_proj"] = tiny.values["layers.0.down_proj"][:, :64]
    error = refusal(write_gguf(tmp_path / "t.gguf", tiny))
    assert "blk.0.ffn_down.weight" in error.message
    assert "(64, 64)" in error.message


def test_layers_with_more_than_the_architecture_computes_are_refused(tmp_path) -> None:
    extra = {"blk.0.ffn_gate_inp.weight": np.ones((4, 64), np.float32)}
    found = refusal(write_gguf(tmp_path / "t.gguf", Tiny("llama"), extra=extra))
    assert "tensor blk.0.ffn_gate_inp.weight has no place in a llama model" in found.message


def test_rope_scaling_that_makes_no_sense_is_refused_by_its_key(tmp_path) -> None:
    for kind, named in (("yarn", "factor is missing"), ("longrope", "rope_type longrope is not supported")):
        path = write_gguf(tmp_path / kind, Tiny("llama"), metadata={"llama.rope.scaling.type": kind})
        assert named in refusal(path).message
    for values, named in (
        (np.ones(7), "is (7,), expected (8,)"),
        (np.zeros(8), "holds values that are no div"),
    ):
        extra = {"rope_freqs.weight": values.astype(np.float32)}
        path = write_gguf(tmp_path / "u.gguf", Tiny("llama"), extra=extra)
        assert f"rope_freqs.weight {named}" in refusal(path).message


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 2.5},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "attn_factor": 0.75},
    ],
    ids=lambda rope: rope["rope_type"],
)
def test_rope_scaling_is_that_of_the_directory(tmp_path, rope) -> None:
    tiny = Tiny("qwen3", head_dim=32, rope=rope)
    found = [
        open_checkpoint(path).architecture.geometry
        for path in (write_gguf(tmp_path / "t.gguf", tiny), write_huggingface(tmp_path / "hf", tiny))
    ]
    assert np.allclose(found[0].rope_divisors, found[1].rope_divisors)
    assert np.isclose(found[0].rope_magnitude, found[1].rope_magnitude)
    assert max(found[0].rope_divisors) == rope["factor"]


def test_partial_rotation_is_refused(tmp_path) -> None:
    tiny = Tiny("llama")
    path = write_gguf(tmp_path / "t.gguf", tiny)
    data = path.read_bytes()
    # The key of equal length leaves head_dim to hidden / heads: still 16.
    key, renamed = b"llama.attention.key_length", b"llama.rope.dimension_count"
    assert data.count(key + struct.pack("<II", 4, 16)) == 1
    path.write_bytes(data.replace(key + struct.pack("<II", 4, 16), renamed + struct.pack("<II", 4, 8)))
    assert "llama.rope.dimension_count is 8" in refusal(path).message


def test_any_truncation_is_an_error_that_says_so(tmp_path) -> None:
    whole = write_gguf(tmp_path / "t.gguf", Tiny("llama", layers=1)).read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [0, 3, 4, 20, 100, 1000, *range(2000, len(whole) - 64, len(whole) // 29), len(whole) - 64]:
        cut.write_bytes(whole[:size])
        error = refusal(cut)
        assert "again" in error.hint or "give a .gguf" in error.hint, size


def test_not_a_checkpoint(tmp_path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"hello")
    assert "not a GGUF file" in refusal(tmp_path / "x.gguf").message
    assert "no file or directory" in refusal(tmp_path / "absent").message
