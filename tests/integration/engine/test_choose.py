"""The choice of an engine where there is no GPU: what is passed over, what is trouble, what still serves."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest
from tests.support.bundles import altered_bundle, plan_of
from tests.support.engines import CountingEngine

from lineside.config import EngineConfig
from lineside.engine.base import EngineFaultError, Extension
from lineside.engine.bundle import ONNX_CUDA_MODEL, ONNX_MODEL, Bundle, open_bundle
from lineside.engine.cache_room import FLOAT_BYTES, slot_bytes
from lineside.engine.choose import Choice, choose, warmed_up
from lineside.engine.onnxruntime import OnnxRuntimeEngine


@pytest.fixture
def bundle(tiny_fp32_bundle):
    return open_bundle(tiny_fp32_bundle)


def config(name: str = "auto") -> EngineConfig:
    return EngineConfig(name=name, slots=2, threads=1, max_chunk_tokens=16)


def serves(choice: Choice) -> bool:
    (logits,) = choice.engine.forward([Extension(0, 0, [1, 2, 3], (2,))])
    return bool(np.isfinite(logits).all())


def test_auto_without_plans_and_cuda_is_the_cpu_and_no_trouble(bundle) -> None:
    choice = choose(bundle, config())
    assert (choice.name, choice.engine.capabilities.device, choice.trouble) == ("onnxruntime", "cpu", "")
    assert "no tensorrt: the bundle has no plan" in choice.reason
    assert "no onnxruntime-cuda: this onnxruntime has no CUDA provider" in choice.reason
    assert serves(choice)


def test_plans_that_cannot_run_here_are_trouble_and_the_cpu_serves(tmp_path, tiny_fp32_bundle) -> None:
    plans = (plan_of("step"), plan_of("chunk"))
    choice = choose(altered_bundle(tiny_fp32_bundle, tmp_path / "b", plan=plans), config())
    assert choice.name == "onnxruntime"
    assert choice.trouble.startswith("served by onnxruntime, because tensorrt: ")
    assert serves(choice)


@pytest.mark.parametrize("name", ["tensorrt", "onnxruntime-cuda"])
def test_what_was_asked_for_and_is_not_there_is_trouble(bundle, name: str) -> None:
    choice = choose(bundle, config(name))
    assert choice.name == "onnxruntime"
    assert f"{name}: " in choice.trouble
    assert serves(choice)


def test_without_onnxruntime_the_rules_serve_where_tensorrt_cannot(bundle, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("onnxruntime", "lineside.engine.o"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    choice = choose(bundle, config("tensorrt"))
    assert (choice.engine, choice.name) == (None, "rules")
    assert "no onnxruntime-cuda: onnxruntime is not installed" in choice.reason


def test_as_configured(bundle) -> None:
    choice = choose(bundle, config("onnxruntime"))
    assert (choice.name, choice.reason, choice.trouble) == ("onnxruntime", "as configured", "")
    rules = choose(bundle, config("rules"))
    assert (rules.engine, rules.name, rules.trouble) == (None, "rules", "")


def test_a_model_that_cannot_be_loaded_leaves_the_rules(tmp_path, tiny_fp32_bundle) -> None:
    choice = choose(altered_bundle(tiny_fp32_bundle, tmp_path / "b", {ONNX_MODEL: b"not a model"}), config())
    assert (choice.engine, choice.name) == (None, "rules")
    assert "onnxruntime: ONNX Runtime refuses model.onnx" in choice.trouble
    assert "build it again" in choice.trouble


def test_an_engine_that_fails_at_its_first_run_is_passed_over(bundle) -> None:
    class Failing(CountingEngine):
        closed = False

        def warm_up(self) -> None:
            raise EngineFaultError("run model", "out of device memory")

        def close(self) -> None:
            self.closed = True

    engine = Failing()
    choice = warmed_up(bundle, config(), Choice(engine, "tensorrt", "the first choice", {}))
    assert engine.closed
    assert choice.name == "onnxruntime"
    assert "tensorrt: out of device memory" in choice.trouble
    assert choice.engine.capabilities.costs.step(1) > 1, "it has been measured"


def test_onnxruntime_without_its_cuda_is_refused(bundle) -> None:
    from lineside.engine.bundle import BundleError

    with pytest.raises(BundleError, match="could not load its CUDA provider"):
        OnnxRuntimeEngine(bundle, slots=1, threads=1, max_chunk_tokens=16, provider="cuda")


def test_the_graph_for_cuda_computes_the_same_here(tmp_path, tiny_fp32_bundle, bundle) -> None:
    half = (tiny_fp32_bundle / ONNX_CUDA_MODEL).read_bytes()
    other = altered_bundle(tiny_fp32_bundle, tmp_path / "b", {ONNX_MODEL: half})
    batch = [Extension(1, 0, [5, 6, 7, 8, 9], (0, 4))]
    rows, caches = [], []
    for each in (bundle, other):
        engine = OnnxRuntimeEngine(each, slots=2, threads=1, max_chunk_tokens=16)
        engine.forward(batch)
        (row,) = engine.forward([Extension(1, 5, [11], (0,))])
        rows.append(row.copy())
        caches.append(engine.capabilities.cache_bytes)
        engine.close()
    assert np.linalg.norm(rows[1] - rows[0]) < 4e-3 * np.linalg.norm(rows[0])
    assert caches[1] * 2 == caches[0]


def test_a_budget_for_the_caches_is_kept_and_counted_as_the_engine_takes_it(bundle) -> None:
    each = slot_bytes(bundle.manifest, FLOAT_BYTES)
    budget_mb = 2
    fitting = (budget_mb << 20) // each
    assert fitting >= 3, "the tiny bundle's caches are small"
    configured = EngineConfig("onnxruntime", 64, 64, kv_budget_mb=budget_mb, threads=1, max_chunk_tokens=16)
    capabilities = choose(bundle, configured).engine.capabilities
    assert (capabilities.slots, capabilities.kept_slots) == (min(64, fitting), min(64, max(fitting - 64, 0)))
    assert capabilities.cache_bytes == (capabilities.slots + capabilities.kept_slots) * each
    assert capabilities.cache_bytes <= budget_mb << 20


def test_a_budget_without_room_for_one_sequence_leaves_the_rules_and_says_how_much_it_takes(bundle) -> None:
    geometry = msgspec.structs.replace(bundle.manifest.geometry, layers=4096)
    large = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, geometry=geometry))
    needed = -(-slot_bytes(large.manifest, FLOAT_BYTES) >> 20)
    choice = choose(large, EngineConfig(name="onnxruntime", kv_budget_mb=needed - 1))
    assert choice.name == "rules"
    assert f"room for no sequence, which takes {needed}" in choice.trouble
    assert f"set it to {needed} or more" in choice.trouble
