"""The daemon reads the canonical store's values as the build step does."""

import numpy as np
import pytest
from tests.unit.models.tiny_checkpoints import Tiny, write_gguf

from lineside.engine.weights import Weights
from lineside_models.checkpoint import open_checkpoint
from lineside_models.graph.equalise import Equaliser
from lineside_models.graph.store import WeightStore, write_store
from lineside_models.safetensors_file import read_safetensors


@pytest.mark.parametrize("weights", ["int8", "int8-rows", "int4", "fp32"])
def test_values_are_the_stores(tmp_path, weights) -> None:
    checkpoint = open_checkpoint(write_gguf(tmp_path / "tiny.gguf", Tiny("qwen2")))
    path = tmp_path / "weights.safetensors"
    columns = checkpoint.architecture.geometry.intermediate
    scales = {"layers.1.down_proj": np.linspace(0.5, 2, columns, dtype=np.float32)}
    by_row = Equaliser(checkpoint.architecture.geometry, scales) if weights == "int8-rows" else None
    write_store(path, checkpoint, weights, lambda _: None, by_row)
    store, ours = WeightStore(read_safetensors(path)), Weights(path)
    for name in ("embed", "norm", "layers.0.qkv", "layers.1.down_proj", "layers.0.qkv.bias"):
        assert ours.shape(name) == store.shape(name)
        assert np.array_equal(ours.fp16(name), store.values(name).astype(np.float16)), name
