"""The engine contract on a real GPU: LINESIDE_GPU_BUNDLE=BUNDLE python -m pytest tests/gpu/contract.py

And faults: one that the context survives, and a kernel that writes where nothing is.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.contract import EngineContract

from lineside.engine.base import EngineFaultError, Extension
from lineside.engine.bundle import open_bundle
from lineside.engine.tensorrt import TensorRtEngine

BUNDLE = open_bundle(Path(os.environ["LINESIDE_GPU_BUNDLE"]))


@pytest.fixture(scope="module")
def gpu_engine():
    engine = TensorRtEngine(BUNDLE, slots=8, max_chunk_tokens=32, kept_slots=1)
    yield engine
    engine.close()


class TestOnTheDevice(EngineContract):
    @property
    def tolerance(self):
        """As on the CPU, where activations are rounded: how a prompt is cut changes what is rounded."""
        return 0.05 if BUNDLE.manifest.plan[0].precision == "fp16" else 0.1

    @pytest.fixture
    def engine(self, gpu_engine):
        return gpu_engine


def test_rows_answer_what_they_are_asked(gpu_engine):
    ((row,),) = gpu_engine.forward([Extension(0, 0, [300, 400, 500], (2,))])
    token, probability = row.best()
    some = row[np.array([7, token, 2])]
    whole = np.asarray(row)
    assert token == whole.argmax()
    assert probability == pytest.approx(1 / np.exp(whole - whole.max()).sum(), rel=0.02)
    assert some.tolist() == whole[[7, token, 2]].tolist()


def test_the_engine_comes_back_from_a_fault_once(gpu_engine, monkeypatch):
    before = np.array(gpu_engine.forward([Extension(0, 0, [300, 400, 500], (2,))])[0][0])
    monkeypatch.setattr(gpu_engine._device.stream, "synchronize", refuse, raising=False)
    with pytest.raises(EngineFaultError) as caught:
        gpu_engine.forward([Extension(0, 3, [600], (0,))])
    assert caught.value.caches_lost
    again = np.array(gpu_engine.forward([Extension(0, 0, [300, 400, 500], (2,))])[0][0])
    assert np.linalg.norm(again - before) < 1e-3 * np.linalg.norm(before)


def test_an_error_that_ends_the_context_is_raised_as_it_is():
    """In a process of its own: nothing there can use the device again."""
    code = """
import os
from pathlib import Path
from lineside.engine.base import Extension
from lineside.engine.bundle import open_bundle
from lineside.engine.tensorrt import TensorRtEngine
engine = TensorRtEngine(open_bundle(Path(os.environ["LINESIDE_GPU_BUNDLE"])), slots=8, max_chunk_tokens=32)
with engine._device.active():
    engine._device.gather(8, 8, 8, 64)  # an address that is nobody's
try:
    engine.forward([Extension(0, 0, [600], (0,))])
except Exception as error:
    print(type(error).__name__, error, flush=True)
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert b"illegal memory access" in ended.stdout + ended.stderr, ended
    assert b"RuntimeError" in ended.stdout or b"LogicError" in ended.stdout, ended


def refuse() -> None:
    raise RuntimeError("no")
