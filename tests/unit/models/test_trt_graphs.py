"""TensorRT's lowerings of tiny random checkpoints, on ONNX Runtime, against the float64 reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from tests.unit.models.graph_runs import relative_error, stored_lookup
from tests.unit.models.reference_decoder import reference_logits
from tests.unit.models.tiny_checkpoints import VOCAB, Tiny, write_gguf
from tests.unit.models.trt_runs import Cache, TrtRun

from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import BuildError
from lineside_models.graph import TrtShape, lower_trt_native, lower_trt_plain
from lineside_models.graph.store import WeightStore, write_store
from lineside_models.safetensors_file import read_safetensors

S_MAX, CHUNK = 64, 16
LOWERINGS = {"plain": lower_trt_plain, "native": lower_trt_native}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3_ROPE["original_max_position_embeddings"] = 64
MODELS = {
    "llama": Tiny("llama", tied=False, bias=True, o_bias=True, theta=500.0),
    "qwen2": Tiny("qwen2", heads=6, kv_heads=2, hidden=96, eps=1e-6),
    "qwen3": Tiny("qwen3", heads=6, kv_heads=2, hidden=96, head_dim=32, eps=1e-6),
    "llama3": Tiny("llama", head_dim=32, theta=5e5, rope=LLAMA3_ROPE),
}
TOKENS = np.random.default_rng(3).integers(0, VOCAB, 60).tolist()


@dataclass
class Model:
    architecture: object
    store: WeightStore
    lower: object
    rope: tuple[np.ndarray, float]

    def run(self, path, shape: TrtShape, cache: Cache, **options) -> TrtRun:
        self.lower(self.architecture, self.store, shape, "fp16", path, **options)
        onnx.checker.check_model(path, full_check=True)
        return TrtRun(path, self.store, cache)

    def cache(self, slots: int) -> Cache:
        return Cache(self.architecture.geometry, slots, S_MAX)

    def reference(self, tokens, rows) -> np.ndarray:
        lookup = stored_lookup(self.store, self.architecture.geometry)
        return reference_logits(self.architecture.geometry, lookup, tokens, rows, rope=self.rope)


@pytest.fixture(
    scope="module",
    params=[
        (low, m, w)
        for low in LOWERINGS
        for m, w in (
            ("llama", "int4"),
            ("qwen2", "int8"),
            ("qwen2", "fp32"),
            ("qwen3", "int8"),
            ("llama3", "int4"),
        )
    ],
    ids="-".join,
)
def model(request, tmp_path_factory) -> Model:
    lowering, name, weights = request.param
    directory = tmp_path_factory.mktemp("trt")
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", MODELS[name]))
    write_store(directory / "w.safetensors", checkpoint, weights, lambda _: None)
    store = WeightStore(read_safetensors(directory / "w.safetensors"))
    rope = (MODELS[name].angles(), 1.0)
    return Model(checkpoint.architecture, store, LOWERINGS[lowering], rope)


def test_chunks_that_follow_one_another(model, tmp_path) -> None:
    run = model.run(tmp_path / "chunk.onnx", TrtShape.chunk(CHUNK, S_MAX, rows=4), model.cache(1))
    rows = [15, 0, 7, 7]
    for past in (0, 16, 32):
        out = run.forward(0, [TOKENS[past : past + CHUNK]], [past], rows)
        expected = model.reference(TOKENS[: past + CHUNK], [past + row for row in rows])
        assert relative_error(out["logits"], expected) < 4e-3


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_steps_of_ragged_sequences(model, tmp_path, batch: int) -> None:
    cache = model.cache(batch)
    chunk = model.run(tmp_path / "chunk.onnx", TrtShape.chunk(CHUNK, S_MAX), cache)
    step = model.run(tmp_path / "step.onnx", TrtShape.step(batch, S_MAX), cache)
    lengths = [0, 1, 16, 9, 5, 12, 3, 7][-batch:] if batch < 8 else [0, 1, 16, 9, 5, 12, 3, 7]
    sequences = [TOKENS[slot : slot + 20] for slot in range(batch)]
    for slot, length in enumerate(lengths):
        if length:
            padded = [*sequences[slot][:length], *[0] * (CHUNK - length)]
            chunk.forward(slot, [padded], [0], [0] * 8)
    for extra in range(2):
        now = [length + extra for length in lengths]
        out = step.forward(0, [[s[n]] for s, n in zip(sequences, now, strict=True)], now)
        for slot, length in enumerate(now):
            expected = model.reference(sequences[slot][: length + 1], [length])
            assert relative_error(out["logits"][slot], expected[0]) < 4e-3


def test_last_position_of_the_cache(model, tmp_path) -> None:
    cache = model.cache(1)
    step = model.run(tmp_path / "step.onnx", TrtShape.step(1, S_MAX), cache)
    tokens = [*TOKENS, *TOKENS[:4]]
    for past, token in enumerate(tokens):
        out = step.forward(0, [[token]], [past])
    assert relative_error(out["logits"], model.reference(tokens, [S_MAX - 1])) < 4e-3


def test_weights_as_constants_are_the_same_numbers(model, tmp_path) -> None:
    shape = TrtShape.chunk(CHUNK, S_MAX)
    outs = []
    for weights in ("inputs", "constants"):
        run = model.run(tmp_path / f"{weights}.onnx", shape, model.cache(1), weights=weights)
        assert bool(run.weights) == (weights == "inputs")
        outs.append(run.forward(0, [TOKENS[:CHUNK]], [0], range(8))["logits"])
    assert np.allclose(*outs, atol=1e-5)
    assert (tmp_path / "inputs.onnx").stat().st_size < 300_000
    assert not (tmp_path / "inputs.onnx.data").exists()


def test_no_shape_is_computed_and_layers_are_small(model, tmp_path) -> None:
    path = tmp_path / "step.onnx"
    model.run(path, TrtShape.step(4, S_MAX), model.cache(4))
    graph = onnx.load(path).graph
    assert not {n.op_type for n in graph.node} & {"Shape", "ScatterND", "Expand", "ConstantOfShape", "Range"}
    for value in [*graph.input, *graph.output]:
        assert all(d.dim_value > 0 for d in value.type.tensor_type.shape.dim), value.name
    assert len(graph.node) <= 30 + 55 * model.architecture.geometry.layers


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (("step", 0, 1, 0, 64), "batch is 0"),
        (("step", 2, 2, 2, 64), "tokens 2"),
        (("step", 2, 1, 1, 64), "rows 1"),
        (("chunk", 2, 16, 8, 64), "chunk has batch 2"),
        (("chunk", 1, 128, 8, 64), "128 tokens do not fit max_seq_len 64"),
    ],
)
def test_impossible_shapes_are_refused(sizes, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        TrtShape(*sizes)


def test_weights_beyond_fp16_are_refused(tmp_path) -> None:
    tiny = Tiny("llama")
    tiny.values["layers.1.down_proj"] = tiny.values["layers.1.down_proj"].copy()
    tiny.values["layers.1.down_proj"][0, 0] = 7e4
    checkpoint = open_checkpoint(write_gguf(tmp_path / "tiny.gguf", tiny))
    write_store(tmp_path / "w", checkpoint, "fp32", lambda _: None)
    store = WeightStore(read_safetensors(tmp_path / "w"))
    with pytest.raises(BuildError, match=r"layers\.1\.down_proj holds 70000"):
        shape = TrtShape.step(1, 64)
        lower_trt_plain(checkpoint.architecture, store, shape, "fp16", tmp_path / "m", weights="constants")
