from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from tests.unit.models.graph_runs import stored_lookup
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

from lineside.engine.weights import dequantise
from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import BuildError
from lineside_models.graph import store as store_module
from lineside_models.graph.equalise import Equaliser
from lineside_models.graph.store import WeightStore, plan_store, write_store
from lineside_models.quantize import quantise
from lineside_models.safetensors_file import SafetensorsWriter, read_safetensors


@pytest.fixture
def checkpoint(tmp_path):
    return open_checkpoint(write_gguf(tmp_path / "t.gguf", Tiny("qwen2", tied=False)))


@pytest.mark.parametrize("weights", ["int8", "int4", "fp32"])
def test_store_is_a_safetensors_file_in_the_layout_of_matmulnbits(tmp_path, checkpoint, weights: str) -> None:
    path = tmp_path / "w.safetensors"
    done: list[int] = []
    digest, size = write_store(path, checkpoint, weights, done.append)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert size == path.stat().st_size
    tiny = Tiny("qwen2", tied=False)
    assert sum(done) == sum(v.size for v in tiny.values.values())
    tensors = load_file(path)  # by the format's own library
    qkv = np.concatenate([tiny.values[f"layers.1.{n}_proj"] for n in "qkv"])
    if weights == "fp32":
        assert np.array_equal(tensors["layers.1.qkv"], qkv)
    else:
        bits = int(weights[3:])
        stored, scale = quantise(qkv, bits)
        assert stored.shape == (len(qkv), 2, 4 * bits)
        assert np.array_equal(tensors["layers.1.qkv.q"], stored)
        assert np.array_equal(tensors["layers.1.qkv.scale"], scale)
        assert tensors["head.q"].shape[-1] == 32, "the head is always 8 bits"
        assert tensors["embed.q"].shape[-1] == 32, "and so is the embedding"
    assert tensors["layers.0.qkv.bias"].dtype == np.float32
    with safe_open(path, "np") as file:
        assert set(file.keys()) == {
            n for e in plan_store(checkpoint.architecture, weights) for n in e.layout()
        }


def test_reading_back_gives_each_matrix_near_its_values(tmp_path, checkpoint) -> None:
    tiny = Tiny("qwen2", tied=False)
    errors = {}
    for weights in ("fp32", "int8", "int4"):
        write_store(tmp_path / weights, checkpoint, weights, lambda _: None)
        lookup = stored_lookup(WeightStore(read_safetensors(tmp_path / weights)), tiny)
        differences = [
            np.abs(lookup(n) - v).max() / np.abs(v).max() for n, v in tiny.values.items() if v.ndim == 2
        ]
        errors[weights] = max(differences)
    assert errors["fp32"] == 0
    assert errors["int8"] < 0.005
    assert errors["int4"] < 0.1


def test_slices_do_not_change_the_bytes(tmp_path, checkpoint, monkeypatch) -> None:
    whole = write_store(tmp_path / "a", checkpoint, "int4", lambda _: None)
    monkeypatch.setattr(store_module, "_CHUNK_VALUES", 500)
    assert write_store(tmp_path / "b", checkpoint, "int4", lambda _: None) == whole


@pytest.mark.parametrize("weights", ["int8-rows", "int4-rows"])
def test_rows_with_one_scale_and_channels_folded_in(tmp_path, checkpoint, monkeypatch, weights) -> None:
    """The matrices that have scales of channels are by row, in 8 bits, the others keep their blocks."""
    tiny, g = Tiny("qwen2", tied=False), checkpoint.architecture.geometry
    random = np.random.default_rng(1)
    down, qkv = "layers.0.down_proj", "layers.1.qkv"
    scales = {
        name: np.exp(random.normal(size=columns)).astype(np.float32)
        for name, columns in ((down, g.intermediate), (qkv, g.hidden))
    }
    by_row = Equaliser(g, scales, {down: np.array([2, 7])})
    write_store(tmp_path / "a", checkpoint, weights, lambda _: None, by_row)
    monkeypatch.setattr(store_module, "_CHUNK_VALUES", 500)
    write_store(tmp_path / "b", checkpoint, weights, lambda _: None, by_row)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    store = WeightStore(read_safetensors(tmp_path / "a"))
    names = [entry.name for entry in plan_store(checkpoint.architecture, "int8") if entry.bits == 8]
    assert [name for name in names if store.by_row(name)] == sorted(scales)
    assert store.by_rows
    assert {store.bits(name) for name in scales} == {8}
    assert store.bits("layers.0.o_proj") == int(weights[3])
    wanted = tiny.values[down] * scales[down]
    step = np.abs(wanted).max(axis=1, keepdims=True) / 127
    assert (np.abs(store.values(down) - wanted) <= 0.51 * step).all()
    assert (np.abs(np.abs(store.values(down)).max(axis=1) - np.abs(wanted).max(axis=1)) < 1e-6).all()
    assert store.apart(down).tolist() == [2, 7]
    assert np.allclose(store.file.array(f"{down}.exact"), wanted[:, [2, 7]], rtol=1e-6)
    assert not len(store.apart(qkv))
    up, norm = tiny.values["layers.0.up_proj"], tiny.values["layers.1.attn_norm"]
    written = store.values("layers.0.gate_up")[len(up) :] * scales[down][:, None]
    assert np.abs(written - up).max() < (0.02 if weights == "int8-rows" else 0.2) * np.abs(up).max()
    assert np.allclose(store.values("layers.1.attn_norm") * scales[qkv], norm, rtol=1e-6)


def test_data_is_aligned_where_sizes_allow(tmp_path, checkpoint) -> None:
    write_store(tmp_path / "a", checkpoint, "int8", lambda _: None)
    entries = read_safetensors(tmp_path / "a").entries.values()
    assert min(entry.offset for entry in entries) % 64 == 0
    large = [entry for entry in entries if entry.size % 64 == 0]
    assert sum(entry.offset % 64 == 0 for entry in large) / len(large) > 0.9


def test_rows_that_are_no_whole_blocks_are_refused(tmp_path) -> None:
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", Tiny("llama", intermediate=80)))
    with pytest.raises(BuildError, match=r"(?s)down_proj.*80.*fp32"):
        write_store(tmp_path / "w", checkpoint, "int8", lambda _: None)
    write_store(tmp_path / "w", checkpoint, "fp32", lambda _: None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, bad: float) -> None:
    tiny = Tiny("llama")
    tiny.values["layers.1.up_proj"][3, 5] = bad
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", tiny))
    with pytest.raises(BuildError, match=r"tensor blk\.1\.ffn_up\.weight holds"):
        write_store(tmp_path / "w", checkpoint, "int8", lambda _: None)


def test_int4_is_better_than_the_largest_value_over_seven() -> None:
    values = np.random.default_rng(0).normal(size=(200, 256)).astype(np.float32)
    blocks = values.reshape(200, 8, 32)
    scale = np.abs(blocks).max(-1, keepdims=True) / 7
    plain = np.mean((np.clip(np.rint(blocks / scale), -8, 7) * scale - blocks) ** 2)
    searched = np.mean((dequantise(*quantise(values, 4)) - values) ** 2)
    assert searched < 0.9 * plain


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_stay_zero_and_scales_positive(bits: int) -> None:
    values = np.zeros((2, 64), np.float32)
    values[1, 40] = -3
    stored, scale = quantise(values, bits)
    assert (scale > 0).all()
    assert np.allclose(dequantise(stored, scale), values, atol=0.02)


def test_writer_insists_on_all_announced_bytes(tmp_path) -> None:
    with (
        pytest.raises(AssertionError, match="4 announced bytes"),
        SafetensorsWriter(tmp_path / "w", {"a": ("F32", (2,))}) as w,
    ):
        w.write(np.zeros(1, np.float32))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [0.0, 1e-44, 9e-31, 1.45531335e-30, 1e-28])
def test_the_smallest_values_stay_small(bits, size) -> None:
    """A block just above what counts as zeros has a scale below it."""
    stored, scale = quantise(np.full((1, 32), size, np.float32), bits)
    assert (scale > 0).all()
    assert np.abs(dequantise(stored, scale)).max() <= 2 * size
