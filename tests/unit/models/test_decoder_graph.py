"""Graphs built from tiny random checkpoints against an independent float64 reference."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from tests.unit.models.graph_runs import BatchRun, relative_error, stored_lookup
from tests.unit.models.reference_decoder import reference_logits
from tests.unit.models.tiny_checkpoints import DTYPES, VOCAB, Tiny, write_gguf, write_huggingface

from lineside.engine.bundle import ONNX_MODEL, ONNX_VNNI_MODEL, WEIGHTS, open_bundle
from lineside.engine.processor import has_vnni
from lineside_models.build import BuildOptions, build_bundle
from lineside_models.checkpoint import open_checkpoint
from lineside_models.graph.dialect_ort import lower_ort
from lineside_models.graph.store import WeightStore
from lineside_models.safetensors_file import read_safetensors

ROOT = Path(__file__).parents[3]
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3_ROPE["original_max_position_embeddings"] = 64
YARN_ROPE = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "attn_factor": 0.9}
YARN_MAGNITUDE = 0.9 * (0.1 * np.log(4) + 1)
MODELS = {
    "llama-tied": Tiny("llama"),
    "llama-untied-biases": Tiny("llama", tied=False, bias=True, o_bias=True, theta=500.0),
    "qwen2-tied": Tiny("qwen2", heads=6, kv_heads=2, hidden=96, eps=1e-6),
    "qwen2-untied": Tiny("qwen2", tied=False, kv_heads=1, theta=1e6),
    "llama3-rope": Tiny("llama", head_dim=32, theta=5e5, rope=LLAMA3_ROPE),
    "qwen3-tied": Tiny("qwen3", heads=6, kv_heads=2, hidden=96, head_dim=32, eps=1e-6),
    "qwen3-untied-yarn": Tiny("qwen3", tied=False, head_dim=32, theta=1e6, rope=YARN_ROPE),
}
# Stretched positions are the same whatever the weights are.
PARAMETERS = [
    (name, weights)
    for name, tiny in MODELS.items()
    for weights in ("fp32", *([] if tiny.rope else ["int8", "int4", "int8-rows", "int4-rows"]))
]
LENGTH = 128  # as long as calibration needs
TOKENS = np.random.default_rng(3).integers(0, VOCAB, 40).tolist()


def build(directory: Path, tiny: Tiny, weights: str) -> Path:
    """A bundle whose model.onnx computes products in float32."""
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", tiny))
    bundle = directory / "bundle"
    options = BuildOptions(name="tiny", languages=("en",), licence="x", weights=weights, max_seq_len=LENGTH)
    build_bundle(checkpoint, bundle, options, lambda _: None)
    open_bundle(bundle)
    store = WeightStore(read_safetensors(bundle / WEIGHTS))
    lower_ort(checkpoint.architecture, store, LENGTH, bundle / "model.float.onnx", accuracy_level=0)
    return bundle


def rope_of(tiny: Tiny) -> tuple[np.ndarray, float]:
    return tiny.angles(), YARN_MAGNITUDE if tiny.rope.get("rope_type") == "yarn" else 1.0


@pytest.fixture(scope="module", params=PARAMETERS, ids="-".join)
def built(request, tmp_path_factory):
    name, weights = request.param
    tiny = MODELS[name]
    bundle = build(tmp_path_factory.mktemp("graph"), MODELS[name], weights)
    geometry = open_bundle(bundle).manifest.geometry
    lookup = stored_lookup(WeightStore(read_safetensors(bundle / WEIGHTS)), geometry)
    if weights == "fp32":  # against the trained values themselves, not what the store made of them
        lookup = MODELS[name].values.__getitem__

    def reference(tokens, rows):
        return reference_logits(geometry, lookup, tokens, rows, rope=rope_of(tiny))

    return bundle, reference


def test_prefill_of_all_rows(built) -> None:
    bundle, reference = built
    run = BatchRun(bundle / "model.float.onnx", 1)
    rows = list(range(len(TOKENS)))
    logits = run.step(0, [TOKENS], [len(TOKENS)], rows)
    assert relative_error(logits, reference(TOKENS, rows)) < 1e-4


def test_chunks_and_steps_with_the_cache_in_place(built) -> None:
    bundle, reference = built
    run = BatchRun(bundle / "model.float.onnx", 1)
    run.step(0, [TOKENS[:7]], [7], [6])
    chunk = run.step(0, [TOKENS[7:30]], [30], [0, 22])
    steps = [run.step(0, [[TOKENS[i]]], [i + 1], [0]) for i in range(30, 40)]
    found = np.concatenate([chunk, *steps])
    assert relative_error(found, reference(TOKENS, [7, 29, *range(30, 40)])) < 1e-4


def test_going_back_overwrites_the_cache(built) -> None:
    bundle, reference = built
    run = BatchRun(bundle / "model.float.onnx", 1)
    run.step(0, [TOKENS[:20]], [20], [19])
    other = [*TOKENS[:10], *TOKENS[25:35]]
    found = run.step(0, [other[10:]], [20], range(10))
    assert relative_error(found, reference(other, range(10, 20))) < 1e-4


def test_ragged_batch_steps(built) -> None:
    bundle, reference = built
    run = BatchRun(bundle / "model.float.onnx", 3)
    lengths = [5, 29, 12]
    sequences = [TOKENS[:8], TOKENS[3:35], TOKENS[20:35]]
    for slot, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        run.step(slot, [sequence[:length]], [length], [length - 1])
    for extra in range(3):
        new = [[sequence[length + extra]] for sequence, length in zip(sequences, lengths, strict=True)]
        logits = run.step(0, new, [length + extra + 1 for length in lengths], [0, 1, 2])
        for slot, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
            expected = reference(sequence[: length + extra + 1], [length + extra])
            assert relative_error(logits[slot], expected[0]) < 1e-4


def test_rows_are_flat_positions_in_any_number(built) -> None:
    bundle, _ = built
    run = BatchRun(bundle / "model.float.onnx", 2)
    batch = [TOKENS[:6], TOKENS[6:12]]
    everything = run.step(0, batch, [6, 6], range(12))
    assert np.allclose(run.step(0, batch, [6, 6], [9, 2]), everything[[9, 2]], atol=1e-5)
    assert run.step(0, batch, [6, 6], []).shape == (0, VOCAB)


def test_shipped_graph_is_close_to_the_reference(built) -> None:
    """accuracy_level 4 rounds activations to 8 bits: near, and equal for fp32."""
    bundle, reference = built
    manifest = open_bundle(bundle).manifest
    assert (ONNX_VNNI_MODEL in manifest.files) == manifest.precision.endswith("-rows")
    # Without VNNI, x86 processors overflow where they multiply signed weights: that graph is not for them.
    signed = [ONNX_VNNI_MODEL] if ONNX_VNNI_MODEL in manifest.files and has_vnni() else []
    for graph in (ONNX_MODEL, *signed):
        logits = BatchRun(bundle / graph, 1).step(0, [TOKENS], [len(TOKENS)], [39])
        bound = 1e-4 if manifest.precision == "fp32" else 0.15
        assert relative_error(logits, reference(TOKENS, [39])) < bound, graph


def test_reference_notices_a_wrong_weight() -> None:
    """The comparison can fail: one changed bias moves the logits far past the tolerance."""
    tiny, other = Tiny("qwen2"), Tiny("qwen2")
    other.values["layers.0.q_proj.bias"] = other.values["layers.0.q_proj.bias"] + 0.1
    pair = [reference_logits(_geometry(t), t.values.__getitem__, TOKENS, [39]) for t in (tiny, other)]
    assert relative_error(*pair) > 1e-3


def _geometry(tiny: Tiny):
    tiny.rope_theta, tiny.norm_eps, tiny.tied_head = tiny.theta, tiny.eps, tiny.tied
    return tiny


def test_signed_weights_are_the_stores(tmp_path) -> None:
    bundle = build(tmp_path, MODELS["qwen2-tied"], "int8-rows")
    store = WeightStore(read_safetensors(bundle / WEIGHTS))
    model = onnx.load(bundle / ONNX_VNNI_MODEL)
    products = [node for node in model.graph.node if node.op_type == "QGemm"]
    assert len(products) == 9
    constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for product in products:
        weights, scales, zeros = product.input[3:6]
        made = [node for node in model.graph.node if weights in node.output]
        output = helper.make_tensor_value_info(weights, TensorProto.INT8, None)
        graph = helper.make_graph(made, "weights", [], [output], list(model.graph.initializer))
        part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        (signed,) = InferenceSession(part.SerializeToString()).run(None, {})
        assert signed.dtype == np.int8
        assert not constants[zeros].any()
        matrix = scales.removesuffix(".scales")
        assert np.array_equal(signed * constants[scales][:, None], store.values(matrix))


def test_channels_apart_are_computed_as_they_are(tmp_path) -> None:
    """Logits of a head with all that the final norm gives in some channels, which stay apart."""
    tiny = Tiny("qwen2", tied=False)
    large = np.arange(0, tiny.hidden, 6)
    tiny.values["norm"][large] *= 300
    tiny.values["head"][:, large] /= 300
    logits = {}
    for weights in ("int8-rows", "fp32"):
        (tmp_path / weights).mkdir()
        bundle = build(tmp_path / weights, tiny, weights)
        logits[weights] = BatchRun(bundle / ONNX_MODEL, 1).step(0, [TOKENS], [40], range(40))
    store = WeightStore(read_safetensors(tmp_path / "int8-rows" / "bundle" / WEIGHTS))
    assert set(large) <= set(store.apart("head"))
    assert relative_error(logits["int8-rows"], logits["fp32"]) < 0.1


def test_a_product_by_row_rounds_each_position_by_itself(tmp_path) -> None:
    """An integer product is the same for a token whatever the other tokens of the call are."""
    bundle = build(tmp_path, MODELS["qwen2-tied"], "int8-rows")
    batch = [TOKENS[:12], TOKENS[12:24]]
    together = BatchRun(bundle / ONNX_MODEL, 2).step(0, batch, [12, 12], range(24))
    for number, tokens in enumerate(batch):
        alone = BatchRun(bundle / ONNX_MODEL, 1).step(0, [tokens], [12], range(12))
        assert relative_error(alone, together[12 * number : 12 * number + 12]) < 1e-5


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", ["llama-tied", "llama3-rope", "qwen2-untied", "qwen3-untied-yarn", "linear"])
def test_huggingface_directory(tmp_path, kind: str, name: str) -> None:
    linear = Tiny("llama", rope={"type": "linear", "rope_type": "linear", "factor": 2.5})
    tiny = MODELS.get(name, linear)
    shards = 1 if tiny.tied else 3
    checkpoint = open_checkpoint(write_huggingface(tmp_path / "hf", tiny, kind, shards=shards))
    options = BuildOptions(name="t", languages=("en",), licence="x", weights="fp32", max_seq_len=64)
    build_bundle(checkpoint, tmp_path / "b", options, lambda _: None)
    logits = BatchRun(tmp_path / "b" / ONNX_MODEL, 1).step(0, [TOKENS], [len(TOKENS)], [39])
    rounded = {name: values.astype(DTYPES[kind]) for name, values in tiny.values.items()}
    expected = reference_logits(_geometry(tiny), rounded.__getitem__, TOKENS, [39], rope=rope_of(tiny))
    assert relative_error(logits, expected) < 1e-4


@pytest.mark.parametrize("name", ["llama3-rope", "qwen3-untied-yarn"])
def test_reference_notices_unstretched_positions(name: str) -> None:
    tiny = MODELS[name]
    pair = [
        reference_logits(_geometry(tiny), tiny.values.__getitem__, TOKENS, [39], rope=r)
        for r in (rope_of(tiny), None)
    ]
    assert relative_error(*pair) > 1e-3


OLD = ROOT / ".venv-onnxruntime-1.23.2" / "bin" / "python"


def test_oldest_supported_runtime_gives_the_same_logits(built, tmp_path) -> None:
    bundle, reference = built
    code = (
        "import sys, numpy, onnxruntime; from tests.unit.models.graph_runs import BatchRun;"
        "from pathlib import Path; assert onnxruntime.__version__ == '1.23.2';"
        "t = eval(sys.argv[2]); run = BatchRun(Path(sys.argv[1]), 1); run.step(0, [t[:20]], [20], [19]);"
        "chunk, step = run.step(0, [t[20:39]], [39], [18]), run.step(0, [t[39:]], [40], [0]);"
        "numpy.save(sys.argv[3], numpy.concatenate([chunk, step]))"
    )
    arguments = [OLD, "-c", code, bundle / "model.float.onnx", str(TOKENS), tmp_path / "logits.npy"]
    subprocess.run(arguments, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert relative_error(np.load(tmp_path / "logits.npy"), reference(TOKENS, [38, 39])) < 1e-4
