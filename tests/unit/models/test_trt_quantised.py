"""Quantised lowerings of tiny random checkpoints, on ONNX Runtime, against the float64 reference.

The reference multiplies with the values that the graph's file holds, and rounds inputs as the graph does.
"""

from __future__ import annotations

import tempfile
from functools import partial

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.unit.models.graph_runs import relative_error, stored_lookup
from tests.unit.models.reference_decoder import reference_logits
from tests.unit.models.tiny_checkpoints import VOCAB, Tiny, write_gguf
from tests.unit.models.trt_runs import Cache, TrtRun, exact_session, run_exactly
from tests.unit.models.trt_weights import GraphWeights

from lineside_models.calibration import choose
from lineside_models.calibration import record as recording
from lineside_models.calibration.choose import choose_point, choose_row_scales
from lineside_models.calibration.record import CHUNK, Seen, record
from lineside_models.calibration.result import Calibration, Point, load_calibration
from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import BuildError
from lineside_models.graph import Part, TrtShape, lower_trt_native, lower_trt_plain
from lineside_models.graph.equalise import Equaliser, share_between_heads
from lineside_models.graph.external_data import ExternalData
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.store import WeightStore, write_store
from lineside_models.graph.trt_products import LARGEST_FP16, ScaledSource
from lineside_models.graph.trt_quantised import (
    Fp8Products,
    Int4Products,
    Int8Products,
    WeakInt8Products,
    int4_block,
    int4_blocks,
)
from lineside_models.safetensors_file import read_safetensors

S_MAX = 64
MODELS = {
    "llama": Tiny("llama", tied=False, bias=True, o_bias=True, theta=500.0),
    "qwen2": Tiny("qwen2", heads=6, kv_heads=2, hidden=96, eps=1e-6),
    "qwen3": Tiny("qwen3", eps=1e-6),
}
TARGETS = {
    "plain-int8-weak": (lower_trt_plain, "int8", {}),
    "plain-int8": (lower_trt_plain, "int8", {"strongly_typed": True}),
    "plain-fp8": (lower_trt_plain, "fp8", {"strongly_typed": True}),
    "plain-int4": (lower_trt_plain, "int4", {"strongly_typed": True}),
    "native-int8": (lower_trt_native, "int8", {}),
    "native-fp8": (lower_trt_native, "fp8", {}),
    "native-int4": (lower_trt_native, "int4", {}),
}
# Of the largest logit. FP16's noise makes some inputs round the other way, which counts as much as rounding
# itself in a random model: the products alone are compared exactly, below.
GRAPH_ERROR = {"int8": 0.1, "fp8": 0.2, "int4": 4e-3}
TOTAL_ERROR = {"int8": 0.25, "fp8": 0.3, "int4": 0.5}
RANDOM = np.random.default_rng(3)
TOKENS = RANDOM.integers(0, VOCAB, 60).tolist()
PROMPTS = [RANDOM.integers(0, VOCAB, CHUNK).tolist() for _ in range(2)]


class Model:
    """A tiny checkpoint's store, with what its products saw."""

    def __init__(self, directory, tiny: Tiny) -> None:
        checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", tiny))
        write_store(directory / "w.safetensors", checkpoint, "fp32", lambda _: None)
        self.store = WeightStore(read_safetensors(directory / "w.safetensors"))
        self.architecture = checkpoint.architecture
        self.geometry = checkpoint.architecture.geometry
        self.seen = record(self.architecture, self.store, PROMPTS, lambda _: None, tokens=True)

    def calibration(self, precision: str, *, head: bool = False) -> Calibration:
        found = {
            matrix: choose_point(self.geometry, self.store, matrix, seen, precision)
            for matrix, seen in self.seen.items()
            if head or matrix not in ("embed", "head")
        }
        points = {matrix: point for matrix, point in found.items() if point}
        return Calibration(precision=precision, weights_sha256="", texts=(), tokens=256, points=points)

    def reference(self, tokens, rows) -> np.ndarray:
        return reference_logits(self.geometry, stored_lookup(self.store, self.geometry), tokens, rows)


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory) -> Model:
    return Model(tmp_path_factory.mktemp("trt"), MODELS[request.param])


@pytest.fixture(params=TARGETS)
def target(request):
    return TARGETS[request.param]


@pytest.mark.parametrize("head", [False, True], ids=["layers", "head"])
def test_chunk_then_ragged_steps(model, target, tmp_path, head: bool) -> None:
    lower, precision, options = target
    calibration = model.calibration(precision, head=head)
    cache = Cache(model.geometry, 2, S_MAX)
    runs = []
    for shape in (TrtShape.chunk(16, S_MAX), TrtShape.step(2, S_MAX)):
        path = tmp_path / f"{shape.role}.onnx"
        lower(model.architecture, model.store, shape, precision, path, calibration=calibration, **options)
        onnx.checker.check_model(path, full_check=True)
        runs.append(TrtRun(path, model.store, cache))
    weights = GraphWeights(path, model.store)
    assert weights.quantised == set(calibration.points)
    assert len(weights.quantised) == 8 + head
    tied_name = "embed" if model.geometry.tied_head else "head"
    chunk, step = runs
    other = TOKENS[20:40]
    logits = [chunk.forward(0, [TOKENS[:16]], [0], [15] * 8)["logits"][:1]]
    chunk.forward(1, [[*other[:5], *[0] * 11]], [0], [0] * 8)
    logits.append(step.forward(0, [[TOKENS[16]], [other[5]]], [16, 5])["logits"])

    def expected(tokens, row) -> np.ndarray:
        untied = msgspec.structs.replace(model.geometry, tied_head=False)
        stored = stored_lookup(weights, model.geometry)
        known = {"embed": weights.embedding(), "head": stored(tied_name)}
        lookup = lambda name: known[name] if name in known else stored(name)  # noqa: E731
        return reference_logits(untied, lookup, tokens, [row], weights.rounding)[0]

    cases = [(TOKENS, 15), (TOKENS[:17], 16), (other[:6], 5)]
    for found, (tokens, row) in zip(np.concatenate(logits), cases, strict=True):
        exact = model.reference(tokens, [row])[0]
        assert relative_error(found, expected(tokens, row)) < GRAPH_ERROR[precision]
        assert relative_error(found, exact) < TOTAL_ERROR[precision]


class Matrix:
    """A source of one matrix with a bias."""

    def __init__(self, values: np.ndarray) -> None:
        self._tensors = {"m": values, "m.bias": np.linspace(-1, 1, len(values), dtype=np.float32)}
        self.has, self.values = self._tensors.__contains__, self._tensors.__getitem__

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape


@pytest.mark.parametrize(
    ("kind", "precision", "opset"),
    [
        (WeakInt8Products, "int8", 17),
        (Int8Products, "int8", 20),
        (Fp8Products, "fp8", 20),
        (Int4Products, "int4", 21),
    ],
)
def test_one_product_is_exactly_what_its_roundings_say(tmp_path, kind, precision: str, opset: int) -> None:
    source = Matrix(RANDOM.normal(size=(24, 128)).astype(np.float32) * np.logspace(-2, 1, 24)[:, None])
    source.values("m")[5] = 0
    path, x = tmp_path / "m.onnx", RANDOM.normal(size=(6, 128)).astype(np.float16)
    point = Point(2.5, rms=(1.0,) * 128)  # some inputs are beyond: they saturate
    calibration = Calibration(precision=precision, weights_sha256="", texts=(), tokens=0, points={"m": point})
    graph = OnnxGraph(None, opset, ExternalData(path))
    graph.input("x", onnx.TensorProto.FLOAT16, x.shape)
    y = kind(graph, source, "constants", calibration).product("x", "m")
    graph.node("Identity", [y], ["y"])
    graph.output("y", onnx.TensorProto.FLOAT16, (6, 24))
    graph.save(path, "product")
    onnx.checker.check_model(path, full_check=True)
    weights = GraphWeights(path, source)
    matrix = weights.values("m")
    assert weights.quantised == {"m"}
    rounded = weights.rounding("m", x.astype(np.float64)) if weights.steps else x.astype(np.float64)
    assert (np.abs(rounded).max() < 2.53) == (precision != "int4")
    (found,) = run_exactly(path, {"x": x})
    expected = rounded @ matrix.T + source.values("m.bias")
    assert np.allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(matrix).max(axis=1))
    coarse = {"int8": 0.006, "fp8": 0.07, "int4": 0.2}[precision]
    largest = np.abs(source.values("m")).max(axis=1, keepdims=True) + 1e-9
    limit = np.abs(matrix - source.values("m")) / (largest if precision != "fp8" else largest.max())
    assert limit.max() < coarse


def test_channel_scales_change_nothing_but_the_weights(model) -> None:
    """The float64 decoder gives the same logits with scales on every input that can have them."""
    g, rng = model.geometry, np.random.default_rng(5)
    scales = {}
    for layer in range(g.layers):
        for part, columns in (("qkv", g.hidden), ("gate_up", g.hidden), ("down_proj", g.intermediate)):
            scales[f"layers.{layer}.{part}"] = rng.uniform(0.2, 5, columns).astype(np.float32)
        scales[f"layers.{layer}.o_proj"] = share_between_heads(rng.uniform(0.2, 5, g.heads * g.head_dim), g)
    lookup = stored_lookup(ScaledSource(model.store, Equaliser(g, scales)), g)
    found = reference_logits(g, lookup, TOKENS[:20], range(20))
    assert relative_error(found, model.reference(TOKENS[:20], range(20))) < 1e-5
    assert not np.allclose(lookup("layers.0.v_proj"), stored_lookup(model.store, g)("layers.0.v_proj"))


def test_records_are_what_the_reference_sees(model) -> None:
    inputs: dict[str, np.ndarray] = {}
    for prompt in PROMPTS:

        def keep(name: str, x: np.ndarray) -> np.ndarray:
            inputs[name] = np.concatenate([inputs.get(name, x[:0]), x])
            return x

        lookup = stored_lookup(model.store, model.geometry)
        reference_logits(model.geometry, lookup, prompt, range(CHUNK), keep)
    names = {"qkv": "q_proj", "gate_up": "gate_proj"}
    for matrix, seen in model.seen.items():
        prefix, _, part = matrix.rpartition(".")
        x = inputs[f"{prefix}.{names.get(part, part)}" if prefix else "head"]
        assert np.allclose(seen.largest, np.abs(x).max(axis=0), rtol=0.01, atol=0.01)
        assert np.allclose(seen.mean_square, np.square(x).mean(axis=0), rtol=0.01, atol=0.01)
        assert np.allclose(seen.tokens, x[[37, CHUNK + 37]], rtol=0.01, atol=0.01)


def test_scales_are_better_than_none(model) -> None:
    """With channels of very different size, chosen scales lose much less than plain rounding."""
    matrix = "layers.0.qkv"
    columns = model.store.shape(matrix)[1]
    sizes = np.where(np.arange(columns) % 16 == 0, 30.0, 0.3)
    seen = Seen(sizes * 3, np.square(sizes))
    sample = model.store.values(matrix).astype(np.float64)
    for precision, noise, gain in (("int8", choose._int8_noise, 0.2), ("int4", choose._int4_noise, 0.75)):
        point = choose_point(model.geometry, model.store, matrix, seen, precision)
        assert point.channels
        chosen = noise(sample, seen, np.array(point.channels))
        assert chosen < gain * noise(sample, seen, np.ones(columns))


def test_channels_that_a_few_tokens_have_enormous_stay_apart(model) -> None:
    """They would make the steps of those tokens too coarse, and no scale may level them out."""
    matrix = "layers.1.down_proj"
    columns = model.store.shape(matrix)[1]
    tokens = list(np.random.default_rng(4).normal(size=(9, columns)).astype(np.float32))
    usual = np.median(np.abs(tokens).max(axis=1))
    largest = np.abs(tokens).max(axis=0)
    largest[[11, 3]] = 9 * usual, 7 * usual
    seen = Seen(largest, np.square(tokens).mean(axis=0), tokens)
    assert choose_row_scales(model.geometry, model.store, matrix, seen).apart.tolist() == [11]
    largest[:16] = 900
    assert choose_row_scales(model.geometry, model.store, matrix, seen).apart.tolist() == list(range(16))


def test_reading_prompts_asks_for_the_room_that_it_takes(model, tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(recording, "check_room", lambda *told: asked.append(told))
    record(model.architecture, model.store, PROMPTS, lambda _: None)
    ((_, directory, disk_bytes, memory_bytes),) = asked
    assert str(directory).startswith(tempfile.gettempdir())
    recording._recording_graph(model.architecture, model.store, CHUNK, tmp_path, tokens=False)
    assert disk_bytes == pytest.approx((tmp_path / "recording.onnx.data").stat().st_size, rel=0.02)
    assert memory_bytes == 5 * disk_bytes / 2


def test_a_matrix_with_more_enormous_channels_keeps_its_blocks(model) -> None:
    """Whatever is found in tokens that do not have them."""
    matrix = "layers.1.down_proj"
    columns = model.store.shape(matrix)[1]
    tokens = list(np.random.default_rng(4).normal(size=(9, columns)).astype(np.float32))
    largest = np.abs(tokens).max(axis=0)
    largest[:17] = 900
    seen = Seen(largest, np.square(tokens).mean(axis=0), tokens)
    assert choose_row_scales(model.geometry, model.store, matrix, seen) is None


def test_a_matrix_that_would_lose_too_much_has_its_largest_channels_apart(model, monkeypatch) -> None:
    """Where each token has another one large, none is enormous beside what is usual."""
    matrix = "layers.1.down_proj"
    columns = model.store.shape(matrix)[1]
    tokens = np.random.default_rng(4).normal(size=(12, columns)).astype(np.float32)
    large = np.arange(12) * (columns // 12)
    tokens[np.arange(12), large] = 8
    seen = Seen(np.abs(tokens).max(axis=0), np.square(tokens).mean(axis=0), list(tokens))
    chosen = partial(choose_row_scales, model.geometry, model.store, matrix, seen)
    assert not len(chosen().apart)
    monkeypatch.setattr(choose, "_ROW_NOISE_LIMIT", 8e-5)
    assert len(chosen().apart) == 16
    assert set(large) <= set(chosen().apart.tolist())
    monkeypatch.setattr(choose, "_ROW_NOISE_LIMIT", 1e-6)
    assert chosen() is None


def test_the_vocabulary_s_largest_channels_are_apart_and_none_is_scaled(model) -> None:
    matrix = "embed" if "embed" in model.seen else "head"
    columns = model.store.shape(matrix)[1]
    sizes = np.where(np.arange(columns) % 4 == 1, 30, 1).astype(np.float32)
    tokens = [sizes * sign for sign in (1, -1)]
    seen = Seen(sizes, np.square(sizes), tokens)
    chosen = choose_row_scales(model.geometry, model.store, matrix, seen)
    assert len(chosen.apart) == 16
    assert (sizes[chosen.apart] == 30).all()
    assert (np.diff(chosen.apart) > 0).all()
    assert (chosen.channels == 1).all()


def test_a_matrix_by_row_has_as_little_noise_as_is_reckoned(model) -> None:
    """Rounded as the CPU rounds it; what is reckoned takes rounding for evenly spread noise."""
    random = np.random.default_rng(6)
    matrix = "layers.0.gate_up"
    values = model.store.values(matrix).astype(np.float64)
    tokens = random.normal(size=(64, values.shape[1])) * np.where(np.arange(values.shape[1]) == 5, 40, 1)
    scales, apart = np.exp(random.normal(size=values.shape[1]) / 4), np.array([5])
    rest = np.delete(tokens / scales, apart, axis=1)
    steps = np.abs(rest).max(axis=1, keepdims=True) / 127
    row_steps = np.abs(values * scales).max(axis=1, keepdims=True) / 127
    weights = np.delete(np.rint(values * scales / row_steps) * row_steps, apart, axis=1)
    rounded = np.rint(rest / steps) * steps @ weights.T + tokens[:, apart] @ values[:, apart].T
    noise = np.square(rounded - tokens @ values.T).sum(axis=1).mean()
    assert choose._row_noise(values, tokens, apart, scales) == pytest.approx(noise, rel=0.2)


def test_int8_leaves_what_it_would_spoil_in_fp16(model, tmp_path) -> None:
    """One enormous token in every channel: a step for it is too coarse for the rest."""
    matrix = "layers.1.down_proj"
    columns = model.store.shape(matrix)[1]
    spoiled = Seen(np.full(columns, 900.0), np.full(columns, 1.0))
    assert choose_point(model.geometry, model.store, matrix, spoiled, "int8") is None
    whole = model.calibration("int8")
    points = {name: point for name, point in whole.points.items() if name != matrix}
    path = tmp_path / "m.onnx"
    calibration = msgspec.structs.replace(whole, points=points)
    shape = TrtShape.step(1, S_MAX)
    lower_trt_plain(model.architecture, model.store, shape, "int8", path, calibration=calibration)
    assert f"weights.{matrix}" in {entry.name for entry in onnx.load(path).graph.input}
    assert GraphWeights(path, model.store).quantised == set(points)


def test_what_does_not_fit_is_refused(model, tmp_path) -> None:
    shape, path, calibration = TrtShape.step(1, S_MAX), tmp_path / "m.onnx", model.calibration("int4")

    def lower(precision: str, **options) -> None:
        lower_trt_plain(model.architecture, model.store, shape, precision, path, **options)

    with pytest.raises(BuildError, match="int8 was asked for, with a calibration for fp16"):
        lower("int8", strongly_typed=True)
    with pytest.raises(BuildError, match="fp8 was asked for, with a calibration for int4"):
        lower("fp8", strongly_typed=True, calibration=calibration)
    with pytest.raises(BuildError, match=r"(?s)int4 needs a strongly typed network.*fp16 or int8"):
        lower("int4", calibration=calibration)
    for name, point in (("layers.9.qkv", Point(1.0)), ("layers.0.qkv", Point(1.0, channels=(1.0,) * 7))):
        other = msgspec.structs.replace(calibration, points={name: point})
        with pytest.raises(BuildError, match=f"the calibration's {name} is not this model's"):
            lower("int4", strongly_typed=True, calibration=other)


def test_calibration_as_a_file(model, tmp_path) -> None:
    path, calibration = tmp_path / "calibration.json", model.calibration("int4")
    calibration.save(path)
    assert load_calibration(path) == calibration
    for point in (Point(-1.0), Point(1.0, channels=(1.0, 0.0)), Point(1.0, rms=(1.0, -0.5))):
        msgspec.structs.replace(calibration, points={"layers.0.qkv": point}).save(path)
        with pytest.raises(BuildError, match=r"layers\.0\.qkv has a scale that is not positive"):
            load_calibration(path)
    calibration.save(path)
    path.write_text(path.read_text().replace('"schema_version":1', '"schema_version":2'))
    with pytest.raises(BuildError, match="schema_version is 2"):
        load_calibration(path)
    path.write_text(path.read_text().replace('"tokens"', '"tokenz"'))
    with pytest.raises(BuildError, match="tokenz"):
        load_calibration(path)
    with pytest.raises(BuildError, match="absent"):
        load_calibration(tmp_path / "absent")


def test_prompts_shorter_than_a_chunk_are_refused(model) -> None:
    with pytest.raises(BuildError, match="fewer than 128 tokens"):
        record(model.architecture, model.store, [], lambda _: None)


def test_models_that_overflow_fp16_are_refused(tmp_path) -> None:
    tiny = Tiny("llama")
    tiny.values["layers.0.gate_proj"] = tiny.values["layers.0.gate_proj"] * 1e4
    with pytest.raises(BuildError, match=r"layers\.\d\.\w+ overflows FP16"):
        Model(tmp_path, tiny)


def test_nothing_of_a_weakly_typed_part_overflows_in_fp16(model, tmp_path) -> None:
    """A residual stream with a channel of 16 x 1,500: its square is far beyond 65,504, its norm is not."""
    graph, part = tmp_path / "part.onnx", Part(range(1, 2))
    shape, calibration = TrtShape.step(2, S_MAX), model.calibration("int8")
    lower_trt_plain(model.architecture, model.store, shape, "int8", graph, calibration=calibration, part=part)
    opened = onnx.load(graph, load_external_data=False)
    del opened.graph.output[:]
    floats = onnx.shape_inference.infer_shapes(opened).graph.value_info
    wanted = [entry for entry in floats if entry.type.tensor_type.elem_type == TensorProto.FLOAT]
    assert len(wanted) > 20
    opened.graph.output.extend(wanted)
    onnx.save(opened, tmp_path / "told.onnx")
    session = exact_session(tmp_path / "told.onnx")
    inputs = {
        entry.name: np.zeros(entry.shape, np.int32 if entry.name == "past_lens" else np.float16)
        for entry in session.get_inputs()
    }
    inputs["taken.high"][:] = np.random.default_rng(5).normal(size=inputs["taken.high"].shape)
    inputs["taken.high"][0], inputs["taken.high"][1, 3] = 0, 1500
    for entry, values in zip(wanted, session.run(None, inputs), strict=True):
        assert np.abs(values).max() < LARGEST_FP16, entry.name


def test_an_input_of_zeros_can_be_rounded(model) -> None:
    """It has no signal to compare the noise with."""
    matrix = "layers.0.qkv"
    columns = model.store.shape(matrix)[1]
    nothing = Seen(np.zeros(columns), np.zeros(columns))
    for precision in ("int8", "int4"):
        assert choose_point(model.geometry, model.store, matrix, nothing, precision).largest == 0
    nothing.tokens.append(np.zeros(columns, np.float32))
    scales = choose_row_scales(model.geometry, model.store, matrix, nothing)
    assert np.isfinite(scales.channels).all()
    assert not len(scales.apart)
    values, block = model.store.values(matrix), int4_block(columns)
    integers, scales = int4_blocks(values, block, np.zeros(columns, np.float32))
    rounded = integers * np.repeat(scales.astype(np.float32), block, axis=1)
    assert np.abs(rounded - values).max() < 0.2 * np.abs(values).max()
