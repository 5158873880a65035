"""The engine contract on ONNX Runtime with a real model, on the current release and on JetPack 6's last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.bundles import altered_bundle
from tests.support.contract import EngineContract

from lineside.engine import onnxruntime, ort_session
from lineside.engine.base import EngineFaultError, Extension
from lineside.engine.bundle import ONNX_VNNI_MODEL, BundleError, open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine
from lineside_models.ort_runner import OrtRunner

ROOT = Path(__file__).parents[3]
OLD_PYTHON = ROOT / ".venv-onnxruntime-1.23.2" / "bin" / "python"


def open_engine(path):
    return OnnxRuntimeEngine(open_bundle(path), slots=4, threads=2, max_chunk_tokens=32, kept_slots=1)


@pytest.fixture(scope="module")
def fp32_engine(tiny_fp32_bundle):
    engine = open_engine(tiny_fp32_bundle)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def int8_engine(smollm2_bundle):
    engine = open_engine(smollm2_bundle)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def rows_engine(smollm2_rows_bundle):
    engine = open_engine(smollm2_rows_bundle)
    yield engine
    engine.close()


class TestTinyFp32(EngineContract):
    """A small random model in fp32: every way of cutting gives the same numbers."""

    @pytest.fixture
    def engine(self, fp32_engine):
        return fp32_engine


class TestSmolLM2Int8(EngineContract):
    """The real model in int8: activations are quantised per call, so cutting changes the numbers a little."""

    tolerance = 0.1

    @pytest.fixture
    def engine(self, int8_engine):
        return int8_engine


class TestSmolLM2Int8Rows(EngineContract):
    """Where float32 sums differ in the last digit, what is rounded next may differ by a whole step."""

    tolerance = 0.1

    @pytest.fixture
    def engine(self, rows_engine):
        return rows_engine


def test_a_processor_with_vnni_gets_the_graph_for_it(smollm2_rows_bundle, tmp_path, monkeypatch):
    bundle = altered_bundle(smollm2_rows_bundle, tmp_path / "b", {ONNX_VNNI_MODEL: b"not a model"})
    monkeypatch.setattr(ort_session, "has_vnni", lambda: True)
    with pytest.raises(BundleError, match=rf"refuses {ONNX_VNNI_MODEL}"):
        OnnxRuntimeEngine(bundle, slots=1, threads=1, max_chunk_tokens=8)
    with pytest.raises(Exception, match=ONNX_VNNI_MODEL):
        OrtRunner(bundle.path)
    monkeypatch.setattr(ort_session, "has_vnni", lambda: False)
    OnnxRuntimeEngine(bundle, slots=1, threads=1, max_chunk_tokens=8).close()
    assert OrtRunner(bundle.path).logits([1, 2], 0).shape[0] == 2


@pytest.mark.parametrize(("budget_ns", "runs"), [(1, 1), (10**12, 4)])
def test_a_long_run_is_measured_once(fp32_engine, monkeypatch, budget_ns, runs):
    """The start does not wait for a large model's chunk four times over."""
    ran = []
    forward = fp32_engine.forward
    monkeypatch.setattr(fp32_engine, "forward", lambda batch: ran.append(batch) or forward(batch))
    monkeypatch.setattr(onnxruntime, "WARM_UP_NS", budget_ns)
    fp32_engine.warm_up()
    kinds = [(len(batch), len(batch[0].tokens)) for batch in ran]
    timed = [(1, 1), (4, 1), (1, 8), (1, 32), (1, 8)]
    assert kinds == [(1, 1), *(kind for kind in timed for _ in range(runs))]
    assert min(fp32_engine.capabilities.costs.step_ns) > 1


def test_copies_of_a_cache_are_measured_and_cost_a_part_of_reading(int8_engine):
    int8_engine.warm_up()
    costs = int8_engine.capabilities.costs
    assert costs.copy(1) > 0
    assert 2 * costs.copy(512) < costs.chunk(512) / 4


def test_a_failing_call_is_an_engine_fault_and_the_next_one_works(fp32_engine):
    beyond = fp32_engine.capabilities.vocab_size + 5
    with pytest.raises(EngineFaultError, match="run model"):
        fp32_engine.forward([Extension(0, 0, [1, beyond, 2], (2,))])
    (row,) = fp32_engine.forward([Extension(0, 0, [1, 2, 3], (2,))])
    assert row.shape == (1, fp32_engine.capabilities.vocab_size)


def test_the_same_contract_on_the_oldest_supported_onnxruntime(
    tiny_fp32_bundle, smollm2_bundle, smollm2_rows_bundle
):
    if not OLD_PYTHON.exists():
        pytest.fail(f"{OLD_PYTHON} is missing: scripts/test makes it")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}",
        "LINESIDE_TEST_TINY_BUNDLE": str(tiny_fp32_bundle),
        "LINESIDE_TEST_SMOLLM2_BUNDLE": str(smollm2_bundle),
        "LINESIDE_TEST_ROWS_BUNDLE": str(smollm2_rows_bundle),
    }
    command = [OLD_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest"]
    command += ["--import-mode=importlib", Path(__file__).with_name("oldest_runtime.py")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize(("machine", "without"), [("x86_64", "1"), ("aarch64", "0")])
def test_attention_goes_without_tiles_where_that_was_measured(smollm2_bundle, monkeypatch, machine, without):
    monkeypatch.setenv("ORT_GQA_DISABLE_FLASH_ATTENTION", "0")
    monkeypatch.setattr("platform.machine", lambda: machine)
    open_engine(smollm2_bundle).close()
    assert os.environ["ORT_GQA_DISABLE_FLASH_ATTENTION"] == without


def test_no_telemetry_is_sent(smollm2_bundle):
    """Every socket that a process opens while it loads and runs the model is of its own machine: none."""
    script = (
        "import socket, sys, pathlib\n"
        "def deny(event, args):\n"
        "    if event.startswith('socket.'): raise SystemExit(f'opened: {event} {args}')\n"
        "sys.addaudithook(deny)\n"
        "from tests.integration.engine.test_contract import open_engine\n"
        "from lineside.engine.base import Extension\n"
        "import os\n"
        "engine = open_engine(pathlib.Path(sys.argv[1]))\n"
        "engine.forward([Extension(0, 0, [5, 6, 7], (2,))])\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "links = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')\n"
        "         if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "assert not [link for link in links if link.startswith('socket:')], links\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}:{ROOT / 'models'}"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", script, smollm2_bundle],
        check=False,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
