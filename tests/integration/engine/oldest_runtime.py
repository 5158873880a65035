"""Run by test_contract in an environment that has onnxruntime 1.23.2 and nothing of the build step."""

import os
from pathlib import Path

import onnxruntime
import pytest
from tests.support.contract import EngineContract

from lineside.engine.bundle import open_bundle
from lineside.engine.onnxruntime import OnnxRuntimeEngine


def open_engine(variable):
    bundle = open_bundle(Path(os.environ[variable]))
    return OnnxRuntimeEngine(bundle, slots=4, threads=2, max_chunk_tokens=32, kept_slots=1)


def test_it_is_the_oldest_supported():
    assert onnxruntime.__version__ == "1.23.2"


@pytest.fixture(scope="module")
def tiny_engine():
    return open_engine("LINESIDE_TEST_TINY_BUNDLE")


@pytest.fixture(scope="module")
def smollm2_engine():
    return open_engine("LINESIDE_TEST_SMOLLM2_BUNDLE")


@pytest.fixture(scope="module")
def rows_engine():
    return open_engine("LINESIDE_TEST_ROWS_BUNDLE")


class TestTinyFp32(EngineContract):
    """As in test_contract."""

    @pytest.fixture
    def engine(self, tiny_engine):
        return tiny_engine


class TestSmolLM2Int8(EngineContract):
    """As in test_contract."""

    tolerance = 0.1

    @pytest.fixture
    def engine(self, smollm2_engine):
        return smollm2_engine


class TestSmolLM2Int8Rows(EngineContract):
    """As in test_contract."""

    tolerance = 0.1

    @pytest.fixture
    def engine(self, rows_engine):
        return rows_engine
