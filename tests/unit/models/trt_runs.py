"""Runs TensorRT graphs on ONNX Runtime as the TensorRT engine runs plans: it appends to the cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


def exact_session(model: Path) -> onnxruntime.InferenceSession:
    """Each node as it stands: fused products would round their inputs in ways of their own."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # a cache that is not written in place is what we want here
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_exactly(model: Path, inputs) -> list[np.ndarray]:
    return exact_session(model).run(None, inputs)


class Cache:
    """Keys and values of several sequences by name, `{layer}.key`. What was not written is large.

    They stand here by position; a plain graph's keys are turned over on their way in.
    """

    def __init__(self, geometry, slots: int, max_seq_len: int) -> None:
        sizes = (slots, geometry.kv_heads, max_seq_len, geometry.head_dim)
        names = [f"{layer}.{part}" for layer in range(geometry.layers) for part in ("key", "value")]
        self.values = {name: np.full(sizes, 500, np.float16) for name in names}


class TrtRun:
    """One static graph over a cache that several graphs may share."""

    def __init__(self, model: Path, store, cache: Cache) -> None:
        self.session = exact_session(model)
        self.cache = cache
        self.names = {entry.name for entry in self.session.get_inputs()}
        self.weights = {
            name: store.values(name.removeprefix("weights.")).astype(np.float16)
            for name in self.names
            if name.startswith("weights.")
        }
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def forward(self, first: int, tokens, past_lens, rows=()) -> dict[str, np.ndarray]:
        """Extend the slots from `first` on; the logits."""
        tokens, past_lens = np.array(tokens, np.int32), np.array(past_lens, np.int32)
        inputs = {"input_ids": tokens, "past_lens": past_lens, **self.weights}
        if "rows" in self.names:
            inputs["rows"] = np.array(rows, np.int32)
        part = slice(first, first + len(tokens))
        for name, values in self.cache.values.items():
            plain_key = name.endswith(".key") and f"new.{name}" in self.outputs
            inputs[f"cache.{name}"] = values[part].swapaxes(2, 3) if plain_key else values[part]
        outputs = dict(zip(self.outputs, self.session.run(None, inputs), strict=True))
        for name, values in self.cache.values.items():
            self._keep(name, values[part], outputs, past_lens)
        return outputs

    @staticmethod
    def _keep(name: str, cache: np.ndarray, outputs, past_lens) -> None:
        if f"present.{name}" in outputs:
            cache[:] = outputs.pop(f"present.{name}")
            return
        new = outputs.pop(f"new.{name}")
        for slot, past in enumerate(past_lens):
            room = min(new.shape[2], cache.shape[2] - past)
            cache[slot, :, past : past + room] = new[slot, :, :room]
