"""SmolLM2 through every lowering and precision: the real builder takes the graphs, the numbers are right."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from tests.support.bundles import SMOLLM2, recipe_bundle
from tests.support.rtx import build_plan
from tests.unit.models.graph_runs import relative_error, stored_lookup
from tests.unit.models.reference_decoder import reference_logits
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf
from tests.unit.models.trt_runs import Cache, TrtRun
from tests.unit.models.trt_weights import GraphWeights

from lineside.engine.bundle import WEIGHTS, open_bundle
from lineside_models.build import BuildOptions, build_bundle
from lineside_models.calibration.calibrate import Calibrator
from lineside_models.calibration.prompts import MAX_FILE_BYTES, prompt_windows
from lineside_models.checkpoint import open_checkpoint
from lineside_models.errors import BuildError
from lineside_models.graph import PRECISIONS, TrtShape, lower_trt_native, lower_trt_plain
from lineside_models.graph.store import WeightStore, stored_architecture
from lineside_models.perplexity import calibration_text
from lineside_models.precision_perplexity import precision_perplexity
from lineside_models.safetensors_file import read_safetensors

IDS = [504, 37816, 8976, 418, 216, 33, 34, 42, 36, 37, 28, 1326]  # "The conveyor stopped at 12:45, don"
PAST = [len(IDS) - 1, 3]  # of each of two sequences
# Of the largest logit: the graph against the reference with its own values, and against the model's.
GRAPH_ERROR = {"fp16": 0.01, "fp8": 0.15, "int8": 0.1, "int4": 0.01}
TOTAL_ERROR = {"fp16": 0.01, "fp8": 0.25, "int8": 0.15, "int4": 0.25}
# Over FP16's, on the English text; measured: see docs/tensorrt-precision.md.
PERPLEXITY_RATIO = {"fp8": 1.09, "int8": 1.04, "int4": 1.22}


def opened(path):
    bundle = open_bundle(path)
    store = WeightStore(read_safetensors(bundle.file(WEIGHTS)))
    calibrator = Calibrator(bundle)
    calibrations = {"fp16": None}
    done: list[int] = []
    for precision in PRECISIONS[1:]:
        done.clear()
        calibrations[precision] = calibrator.run(precision, done.append)
        if precision == PRECISIONS[1]:
            assert sum(done) == calibrator.work
    architecture = stored_architecture(bundle.manifest, store)
    return SimpleNamespace(bundle=bundle, store=store, architecture=architecture, calibrations=calibrations)


@pytest.fixture(scope="module")
def smollm2():
    model = opened(recipe_bundle(SMOLLM2))
    geometry = model.architecture.geometry
    model.exact = reference_logits(geometry, stored_lookup(model.store, geometry), IDS, PAST)
    return model


@pytest.fixture(scope="module", params=["qwen2", "qwen3"])
def tiny(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    tiny = Tiny(request.param, hidden=256, intermediate=384, heads=4, head_dim=64)
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", tiny))
    options = BuildOptions(name="tiny", languages=("en",), licence="MIT", weights="int8", max_seq_len=128)
    build_bundle(checkpoint, directory / "bundle", options, lambda _: None)
    return opened(directory / "bundle")


def lowered(model, lowering: str, precision: str, shape: TrtShape, path):
    arguments = (model.architecture, model.store, shape, precision, path)
    calibration = model.calibrations[precision]
    if lowering == "native":
        lower_trt_native(*arguments, calibration=calibration)
    else:
        lower_trt_plain(*arguments, strongly_typed=True, calibration=calibration)
    return path


def generations(precision: str) -> tuple[str, ...]:
    """Of those that have the precision."""
    return ("SM86", "SM89", "SM120") if precision != "fp8" else ("SM89", "SM120")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("lowering", ["plain", "native"])
def test_smollm2(smollm2, tmp_path, lowering: str, precision: str) -> None:
    """A step of two ragged sequences: built for every generation at once, and right."""
    geometry, past = smollm2.architecture.geometry, PAST
    path = lowered(smollm2, lowering, precision, TrtShape.step(2, 128), tmp_path / "step.onnx")
    size = build_plan(path, *generations(precision))
    weights = GraphWeights(path, smollm2.store)
    stored = 135e6 - 49152 * 576 if precision != "fp16" else 0  # the table of tokens is shared
    assert size < {"fp16": 0, "fp8": 1.1, "int8": 1.1, "int4": 0.6}[precision] * stored + 30e6
    cache = Cache(geometry, 2, 128)
    chunk = lowered(smollm2, lowering, precision, TrtShape.chunk(16, 128), tmp_path / "chunk.onnx")
    prefill = TrtRun(chunk, smollm2.store, cache)
    for slot, length in enumerate(past):
        prefill.forward(slot, [[*IDS[:length], *[0] * (16 - length)]], [0], [0] * 8)
    out = TrtRun(path, smollm2.store, cache).forward(0, [[IDS[length]] for length in past], past)
    own = stored_lookup(weights, geometry)
    tables = {"embed": weights.embedding(), "head": weights.embedding()}
    untied = msgspec.structs.replace(geometry, tied_head=False)

    def lookup(name: str) -> np.ndarray:
        return tables[name] if name in tables else own(name)

    expected = reference_logits(untied, lookup, IDS, past[::-1], weights.rounding)[::-1]
    assert relative_error(out["logits"], expected) < GRAPH_ERROR[precision]
    assert relative_error(out["logits"], smollm2.exact) < TOTAL_ERROR[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("lowering", ["plain", "native"])
def test_tiny_models_build_for_every_generation(tiny, tmp_path, lowering: str, precision: str) -> None:
    for shape in (TrtShape.step(8, 128), TrtShape.chunk(64, 128)):
        path = lowered(tiny, lowering, precision, shape, tmp_path / f"{shape.role}.onnx")
        assert build_plan(path, *generations(precision)) > 1000


def test_perplexity_of_each_precision(smollm2) -> None:
    text, done = calibration_text("en"), []
    exact = precision_perplexity(smollm2.bundle, "fp16", None, text, done.append).perplexity
    assert sum(done) > 700
    for precision, limit in PERPLEXITY_RATIO.items():
        calibration = smollm2.calibrations[precision]
        found = precision_perplexity(smollm2.bundle, precision, calibration, text).perplexity
        assert exact < found < limit * exact


def test_prompts_come_in_whole_windows_up_to_a_bound(smollm2, tmp_path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("Check the belt.\n\n" * 9000)
    windows = prompt_windows(smollm2.bundle, [file])
    assert {len(window) for window in windows} == {256}
    assert sum(map(len, windows)) == 8192
    tokens = Calibrator(smollm2.bundle, file).work
    assert tokens == 8192 // 128 + 4 * 30 + 1
    file.write_text("x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(BuildError, match=f"more than {MAX_FILE_BYTES} bytes"):
        prompt_windows(smollm2.bundle, [file])
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BuildError, match=r"(?s)utf-8.*--calibration"):
        prompt_windows(smollm2.bundle, [file])
    file.write_text("short")
    with pytest.raises(BuildError, match="fewer than 256 tokens"):
        prompt_windows(smollm2.bundle, [file])
