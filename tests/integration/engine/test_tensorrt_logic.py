"""TensorRtEngine on the real graphs, run by ONNX Runtime: slots, rows, bounds, refusals, faults."""

import itertools
import os
from typing import ClassVar

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from tests.support.contract import EngineContract
from tests.support.host_device import GPU, VERSION, HostDevice, OutOfMemoryError, host_site
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

from lineside.engine.base import EngineFaultError, Extension
from lineside.engine.bundle import WEIGHTS, Bundle, BundleError, Plan, open_bundle, sha256_file
from lineside.engine.tensorrt import TensorRtEngine
from lineside.engine.weights import Weights
from lineside_models.build import BuildOptions, build_bundle
from lineside_models.calibration.choose import choose_point
from lineside_models.calibration.record import CHUNK, record
from lineside_models.calibration.result import HEADS, Calibration
from lineside_models.checkpoint import open_checkpoint
from lineside_models.graph import TrtShape, in_groups, layer_by_layer, lower_trt_native, lower_trt_plain
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.safetensors_file import read_safetensors
from lineside_models.trt.verify import difference

SEQ_LEN = 64
CHUNKS = (8, 32)


def with_plans(source, directory, batches, lowering, parts=None):
    """The bundle with a graph in the place of each plan or part of one, chunks of 8 and 32 tokens."""
    bundle = open_bundle(source)
    directory.mkdir()
    os.link(source / WEIGHTS, directory / WEIGHTS)
    store = WeightStore(read_safetensors(directory / WEIGHTS))
    architecture = stored_architecture(bundle.manifest, store)
    shapes = [TrtShape.step(batch, SEQ_LEN) for batch in batches]
    shapes += [TrtShape.chunk(tokens, SEQ_LEN, rows=2) for tokens in CHUNKS]
    plans = []
    for shape, (index, part) in itertools.product(shapes, enumerate(parts or [None])):
        graph = directory / f"{shape.role}{shape.batch}x{shape.tokens}.{index}.onnx"
        lowering(architecture, store, shape, "fp16", graph, **({"part": part} if part else {}))
        file = directory / f"{graph.stem}.plan"
        file.write_bytes(str(graph).encode())
        plan = Plan(
            file=file.name,
            role=shape.role,
            batch=shape.batch,
            chunk=shape.tokens,
            max_seq_len=SEQ_LEN,
            precision="fp16",
            tensorrt_version=VERSION,
            sm=GPU.sm,
            sha256=sha256_file(file),
            part=index,
            parts=len(parts or [None]),
            repeats=part.repeats if part else 1,
        )
        plans.append(plan)
    return Bundle(directory, msgspec.structs.replace(bundle.manifest, plan=tuple(plans)))


def constants(*arguments, part=None, **options):
    """What `compile` makes of precisions that have no shared weights but those of no layer."""
    weights = "inputs" if part and not part.layers else "constants"
    lower_trt_plain(*arguments, weights=weights, part=part, **options)


def calibrated(source):
    """What INT8 makes of the bundle's layers, from random prompts."""
    store = WeightStore(read_safetensors(source / WEIGHTS))
    architecture = stored_architecture(open_bundle(source).manifest, store)
    prompts = np.random.default_rng(5).integers(5, 60, (2, CHUNK)).tolist()
    seen = record(architecture, store, prompts, lambda _: None)
    found = {
        matrix: choose_point(architecture.geometry, store, matrix, inputs, "int8")
        for matrix, inputs in seen.items()
        if matrix not in HEADS
    }
    points = {matrix: point for matrix, point in found.items() if point}
    return Calibration(precision="int8", weights_sha256="", texts=(), tokens=2 * CHUNK, points=points)


@pytest.fixture(scope="module")
def buckets(tiny_fp32_bundle, tmp_path_factory):
    """Weights as inputs, a step for 1, 2 and 4 sequences."""
    return with_plans(tiny_fp32_bundle, tmp_path_factory.mktemp("trt") / "inputs", (1, 2, 4), lower_trt_plain)


@pytest.fixture(scope="module")
def one_step(tiny_fp32_bundle, tmp_path_factory):
    """Weights as constants, one step for 6."""
    return with_plans(tiny_fp32_bundle, tmp_path_factory.mktemp("trt") / "constants", (6,), constants)


@pytest.fixture(scope="module")
def three_layers(tmp_path_factory):
    """A small random Qwen2, of which one part neither begins nor ends."""
    directory = tmp_path_factory.mktemp("three")
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", Tiny("qwen2", layers=3)))
    options = BuildOptions(name="tiny", languages=("en",), licence="MIT", weights="fp32", max_seq_len=SEQ_LEN)
    build_bundle(checkpoint, directory / "bundle", options, lambda _: None)
    return directory / "bundle"


@pytest.fixture(scope="module")
def in_parts(three_layers, tmp_path_factory):
    """Layers' weights as constants, one step for 4, each layer a plan of its own."""
    directory = tmp_path_factory.mktemp("trt") / "parts"
    return with_plans(three_layers, directory, (4,), constants, in_groups(3, 1))


@pytest.fixture(scope="module")
def by_layer(three_layers, tmp_path_factory):
    """Weights as inputs, one plan for all layers."""
    directory = tmp_path_factory.mktemp("trt") / "layers"
    return with_plans(three_layers, directory, (1, 4), lower_trt_plain, layer_by_layer(3))


@pytest.fixture(scope="module")
def native(tiny_fp32_bundle, tmp_path_factory):
    """The cache in place."""
    return with_plans(tiny_fp32_bundle, tmp_path_factory.mktemp("trt") / "native", (1, 4), lower_trt_native)


def open_engine(bundle, slots=4, device=HostDevice):
    return TensorRtEngine(bundle, slots=slots, max_chunk_tokens=32, site=host_site(device), kept_slots=1)


class TestBuckets(EngineContract):
    tolerance = 0.02

    @pytest.fixture
    def engine(self, buckets):
        return open_engine(buckets)


class TestNative(EngineContract):
    tolerance = 0.02

    @pytest.fixture
    def engine(self, native):
        return open_engine(native)


class TestOneStepLargerThanTheSlots(EngineContract):
    """As on TensorRT 8.6: weights as constants, one step for more sequences than there are slots."""

    tolerance = 0.02

    @pytest.fixture
    def engine(self, one_step):
        return open_engine(one_step)


class TestLayerByLayer(EngineContract):
    """As FP16 on TensorRT 8.6, which keeps weights and cache in FP16 in small graphs alone."""

    tolerance = 0.02

    @pytest.fixture
    def engine(self, by_layer):
        return open_engine(by_layer)


class TestParts(EngineContract):
    """As INT8 on TensorRT 8.6."""

    tolerance = 0.02

    @pytest.fixture
    def engine(self, in_parts):
        return open_engine(in_parts)


def test_parts_compute_what_the_whole_does(in_parts, by_layer, three_layers, tmp_path):
    tokens = np.random.default_rng(2).integers(5, 60, 45).tolist()
    whole = with_plans(three_layers, tmp_path / "whole", (4,), constants)
    assert difference(open_engine(in_parts), open_engine(whole), tokens) < 1e-3
    # Norms are inputs there, and in FP16.
    assert difference(open_engine(by_layer), open_engine(whole), tokens) < 1e-2


def test_quantised_parts_compute_what_the_whole_does(three_layers, tmp_path):
    """As `compile` makes them for TensorRT 8.6: first and last part in FP16, the others in INT8."""
    calibration = calibrated(three_layers)

    def int8(architecture, store, shape, _, graph, part=None):
        if part and not part.layers:
            lower_trt_plain(architecture, store, shape, "fp16", graph, weights="inputs", part=part)
            return
        how = {"weights": "constants", "calibration": calibration}
        lower_trt_plain(architecture, store, shape, "int8", graph, part=part, **how)

    tokens = np.random.default_rng(2).integers(5, 60, 45).tolist()
    whole = open_engine(with_plans(three_layers, tmp_path / "whole", (4,), int8))
    # Two layers in one part: names of layers are those of the model there.
    parts = open_engine(with_plans(three_layers, tmp_path / "parts", (4,), int8, in_groups(3, 2)))
    exact = open_engine(with_plans(three_layers, tmp_path / "exact", (4,), constants))
    assert len(calibration.points) > 6
    assert difference(parts, whole, tokens) < 0.02
    # A random model's logits say little once it is rounded, but rounded it is.
    assert difference(parts, exact, tokens) > 0.02


def test_plans_share_one_copy_of_each_weight(by_layer):
    class Counting(HostDevice):
        sizes: ClassVar[list[int]] = []

        def allocate(self, size):
            self.sizes.append(size)
            return super().allocate(size)

    open_engine(by_layer, device=Counting)
    weights = Weights(by_layer.file(WEIGHTS))
    assert Counting.sizes.count(weights.fp16("layers.0.gate_up").nbytes) == 3
    assert Counting.sizes.count(weights.fp16("embed").nbytes) == 1


def test_nothing_is_left_to_capture_once_it_is_warm(buckets):
    class Capturing(HostDevice):
        captures = 0

        def captured(self, work, shared=None):
            type(self).captures += 1
            return work

    engine = open_engine(buckets, device=Capturing)
    engine.warm_up()
    warm = Capturing.captures
    assert warm > 0
    spans = [range(first, end) for first, end in itertools.combinations(range(5), 2)]
    for span in spans:
        engine.forward([Extension(slot, 0, (5,), (0,)) for slot in span])
        engine.forward([Extension(slot, 0, (5,) * 8, (7,)) for slot in span])
        engine.forward([Extension(slot, 0, (5,) * 40, (3, 39)) for slot in reversed(span)])
    engine.forward([Extension(0, 0, (5,), (0,)), Extension(3, 0, (5,), (0,)), Extension(1, 0, (5, 6), (1,))])
    assert Capturing.captures == warm


def test_a_plan_with_an_input_that_is_none_of_ours(buckets, tmp_path):
    graph = onnx.load(buckets.file(buckets.manifest.plan[0].file).read_text())
    graph.graph.input.append(onnx.helper.make_tensor_value_info("mood", onnx.TensorProto.FLOAT, (1,)))
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(BundleError, match="another version of Lineside: it has 'mood'"):
        open_engine(with_first_plan(buckets, tmp_path / "bundle", str(tmp_path / "other.onnx").encode()))


def test_a_part_hands_over_a_residual_stream_beyond_fp16(in_parts):
    middle = next(plan for plan in in_parts.manifest.plan if (plan.role, plan.part) == ("step", 1))
    session = onnxruntime.InferenceSession(in_parts.file(middle.file).read_text())
    kinds = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(int32)": np.int32}
    inputs = {one.name: np.zeros(one.shape, kinds[one.type]) for one in session.get_inputs()}
    taken = np.random.default_rng(4).uniform(-1, 1, inputs["taken.high"].shape).astype(np.float32)
    taken[:, 0] = 200_000.0
    inputs["taken.high"] = np.float16(taken / 16)
    inputs["taken.low"] = np.float16(taken / 16 - inputs["taken.high"])
    high, low = session.run(["handed.high", "handed.low"], inputs)
    added = (high.astype(np.float32) + low) * 16 - taken
    # What a layer adds is of the size of its weights, whatever came in.
    assert 0 < np.abs(added).max() < 50


def test_a_row_answers_what_it_is_asked(buckets):
    engine = open_engine(buckets)
    ((row,),) = engine.forward([Extension(0, 0, [3, 4, 5], (2,))])
    token, probability = row.best()
    some = row[np.array([7, token, 2])]
    whole = np.asarray(row)
    assert token == whole.argmax()
    assert probability == pytest.approx(1 / np.exp(whole - whole.max()).sum(), rel=1e-2)
    assert some.tolist() == whole[[7, token, 2]].tolist() == row[np.array([7, token, 2])].tolist()


def test_more_rows_than_a_call_gives_and_more_tokens_than_it_takes(buckets):
    engine = open_engine(buckets)
    tokens = np.random.default_rng(1).integers(5, 60, 40).tolist()
    wanted = (0, 3, 9, 31, 32, 39)
    (rows,) = engine.forward([Extension(1, 0, tokens, wanted)])
    for row, index in zip([np.array(row) for row in rows], wanted, strict=True):
        ((alone,),) = engine.forward([Extension(0, 0, tokens[: index + 1], (index,))])
        assert np.linalg.norm(row - np.asarray(alone)) < 0.02 * np.linalg.norm(row), index


def test_a_fault_loses_every_cache_once_and_is_the_end_twice(buckets):
    engine = open_engine(buckets)
    before = np.array(engine.forward([Extension(0, 0, [3, 4, 5], (2,))])[0][0])
    opened = HostDevice.opened
    HostDevice.fail_next = 1
    with pytest.raises(EngineFaultError, match="illegal memory access") as caught:
        engine.forward([Extension(0, 3, [6], (0,))])
    assert caught.value.caches_lost
    assert HostDevice.opened == opened + 1
    again = np.array(engine.forward([Extension(0, 0, [3, 4, 5], (2,))])[0][0])
    assert np.allclose(before, again)
    HostDevice.fail_next = 1
    with pytest.raises(HostDevice.faults[0]):
        engine.forward([Extension(0, 3, [6], (0,))])


def test_a_fault_that_the_context_does_not_survive_is_the_end(buckets, monkeypatch):
    engine = open_engine(buckets)
    opened = HostDevice.opened
    monkeypatch.setattr(HostDevice, "broken", True)
    HostDevice.fail_next = 1
    with pytest.raises(HostDevice.faults[0]):
        engine.forward([Extension(0, 0, [3], (0,))])
    assert HostDevice.opened == opened


def test_plans_are_compared_with_another_engine(buckets):
    engine, same = open_engine(buckets), open_engine(buckets)
    tokens = [3, 4, 5, 6, 7, 8, 9, 10]
    assert difference(engine, same, tokens) == 0
    forward = same.forward
    same.forward = lambda batch: [[np.zeros_like(np.asarray(row)) for row in rows] for rows in forward(batch)]
    assert difference(same, engine, tokens) == pytest.approx(1)


def test_more_slots_than_the_plans_hold_is_refused(buckets):
    with pytest.raises(BundleError, match="for 4 sequences") as caught:
        open_engine(buckets, slots=5)
    assert "slots to 4" in caught.value.hint


def test_too_little_memory_is_refused_with_the_numbers(buckets):
    class Small(HostDevice):
        capacity = 1000

    with pytest.raises(BundleError, match="0 MiB are free"):
        open_engine(buckets, device=Small)

    class Full(HostDevice):
        def allocate(self, size):
            raise OutOfMemoryError(f"{size} bytes")

    with pytest.raises(BundleError, match="out of device memory") as caught:
        open_engine(buckets, device=Full)
    assert "slots" in caught.value.hint


def test_a_plan_that_tensorrt_refuses(buckets, tmp_path):
    with pytest.raises(BundleError, match="TensorRT refuses"):
        open_engine(with_first_plan(buckets, tmp_path / "bundle", b"/nowhere"))


def with_first_plan(bundle, directory, content):
    """The bundle with another first plan."""
    plan = bundle.manifest.plan[0]
    directory.mkdir()
    for entry in bundle.path.iterdir():
        os.link(entry, directory / entry.name)
    (directory / plan.file).unlink()
    (directory / plan.file).write_bytes(content)
    plans = (
        msgspec.structs.replace(plan, sha256=sha256_file(directory / plan.file)),
        *bundle.manifest.plan[1:],
    )
    return Bundle(directory, msgspec.structs.replace(bundle.manifest, plan=plans))
