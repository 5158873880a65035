"""Real bundles, and a daemon without one, for integration tests."""

from pathlib import Path

import pytest
from tests.support.bundles import SMOLLM2, recipe_bundle
from tests.support.daemon import DEMO, Daemon
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

from lineside_models.build import BuildOptions, build_bundle
from lineside_models.checkpoint import open_checkpoint


@pytest.fixture(scope="session")
def smollm2_bundle():
    """SmolLM2-135M-Instruct in int8."""
    return recipe_bundle(SMOLLM2)


@pytest.fixture(scope="session")
def smollm2_rows_bundle():
    """SmolLM2-135M-Instruct in int8 with one scale for each row."""
    return recipe_bundle(SMOLLM2, "int8-rows")


@pytest.fixture(scope="session")
def tiny_fp32_bundle(tmp_path_factory):
    """A small random Qwen2 in fp32, at most 64 tokens."""
    directory = tmp_path_factory.mktemp("tiny")
    checkpoint = open_checkpoint(write_gguf(directory / "tiny.gguf", Tiny("qwen2")))
    options = BuildOptions(name="tiny", languages=("en",), licence="MIT", weights="fp32", max_seq_len=64)
    build_bundle(checkpoint, directory / "bundle", options, lambda _: None)
    return directory / "bundle"


@pytest.fixture(scope="session")
def gateway_daemon(tmp_path_factory):
    """A daemon by rules that reads every mapping of the demo."""
    daemon = Daemon(
        tmp_path_factory.mktemp("gateways"),
        Path("none"),
        diagnosis={"mode": "rules"},
        plant={"timezone": "Asia/Shanghai"},
        mqtt={"mappings": [str(path) for path in sorted((DEMO / "gateways").glob("*.toml"))]},
    )
    daemon.import_demo()
    daemon.start()
    yield daemon
    daemon.end()
