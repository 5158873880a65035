"""Offsets beyond what 32 bits hold. The files are sparse: they take a few kilobytes of disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.unit.models.graph_runs import BatchRun
from tests.unit.models.tiny_checkpoints import VOCAB, Tiny, write_huggingface
from tests.unit.models.trt_runs import run_exactly

from lineside_models.checkpoint import open_checkpoint
from lineside_models.graph.dialect_ort import lower_ort
from lineside_models.graph.external_data import ExternalData
from lineside_models.graph.onnx_graph import OnnxGraph
from lineside_models.graph.store import WeightStore, write_store
from lineside_models.safetensors_file import read_safetensors

HOLE = (1 << 32) + (1 << 20)
TOKENS = np.random.default_rng(3).integers(0, VOCAB, 12).tolist()


def push_back(path: Path) -> None:
    """Put a tensor of zeros, which is a hole in the file, before all others."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    for fields in header.values():
        fields["data_offsets"] = [offset + HOLE for offset in fields["data_offsets"]]
    header = {"hole": {"dtype": "U8", "shape": [HOLE], "data_offsets": [0, HOLE]}, **header}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.seek(HOLE, os.SEEK_CUR)
        stream.write(data)
    assert path.stat().st_blocks * 512 < 1 << 24


def test_checkpoint(tmp_path) -> None:
    tiny = Tiny("qwen3", tied=False)
    push_back(write_huggingface(tmp_path, tiny, "BF16") / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    for name, values in tiny.values.items():
        assert np.allclose(checkpoint.rows(name, 0, 16), values[:16], rtol=1e-2), name


@pytest.mark.parametrize("weights", ["int4", "fp32"])
def test_store(tmp_path, weights: str) -> None:
    checkpoint = open_checkpoint(write_huggingface(tmp_path / "hf", Tiny("qwen3")))
    logits = []
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "weights.safetensors"
        write_store(path, checkpoint, weights, lambda _: None)
        if name == "far":
            push_back(path)
        store = WeightStore(read_safetensors(path))
        lower_ort(checkpoint.architecture, store, 64, tmp_path / name / "model.onnx")
        logits.append(BatchRun(tmp_path / name / "model.onnx", 1).step(0, [TOKENS], [12], [11]))
    assert np.array_equal(*logits)


def test_constants_of_a_graph(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    data = ExternalData(path)
    with (tmp_path / "model.onnx.data").open("wb") as stream:
        stream.truncate(HOLE)
    graph = OnnxGraph(None, 20, data)
    values = np.arange(64, dtype=np.float32)
    graph.input("x", TensorProto.FLOAT, (64,))
    graph.output("y", TensorProto.FLOAT, (64,))
    graph.node("Add", ["x", graph.external("far", values)], ["y"])
    graph.save(path, "far")
    offset = onnx.load(path, load_external_data=False).graph.initializer[0].external_data[1]
    assert int(offset.value) >= HOLE
    assert np.array_equal(run_exactly(path, {"x": values})[0], 2 * values)
