"""Runs a chunk graph for TensorRT on ONNX Runtime, one sequence at a time: what a plan computes, on the CPU.

Knows no device and no scheduler: it is for calibrating and for measuring a precision before it is compiled.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported

import onnxruntime

# ONNX Runtime fuses 4-bit products, and would round their inputs to 8 bits; TensorRT does not.
_EXACT_INT4 = ("session.qdq_matmulnbits_accuracy_level", "0")

Outputs = dict[str, NDArray[np.float32]]


class PlainRunner:
    """One plain chunk graph whose weights are constants and whose rows are all its tokens."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry(*_EXACT_INT4)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        self.chunk: int = next(entry.shape[1] for entry in inputs if entry.name == "input_ids")
        self._cache = {e.name: np.zeros(e.shape, np.float16) for e in inputs if e.name.startswith("cache.")}
        self.max_seq_len: int = self._cache["cache.0.value"].shape[2]
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def forward(self, tokens: list[int], past_len: int) -> Outputs:
        """Append up to `chunk` tokens to the first `past_len` cached ones; what the graph gives for them."""
        count = len(tokens)
        inputs = {
            "input_ids": np.array([tokens + [0] * (self.chunk - count)], np.int32),
            "past_lens": np.array([past_len], np.int32),
            "rows": np.arange(self.chunk, dtype=np.int32),
            **self._cache,
        }
        found = dict(zip(self._outputs, self._session.run(None, inputs), strict=True))
        for name, cache in self._cache.items():
            new = found.pop(name.replace("cache.", "new.", 1))
            by_position = cache.swapaxes(2, 3) if name.endswith(".key") else cache
            by_position[0, :, past_len : past_len + count] = new[0, :, :count]
        found["logits"] = found["logits"][:count]
        return found

    def logits(self, tokens: list[int], past_len: int) -> NDArray[np.float32]:
        """As forward, the logits alone."""
        return self.forward(tokens, past_len)["logits"]
