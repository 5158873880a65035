"""Runs a bundle's ONNX graph, one sequence at a time. Knows no scheduler: it is for checking bundles.

The daemon's engine is another: it batches, and holds its buffers for its whole life.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lineside.engine.bundle import Bundle, read_manifest
from lineside.engine.ort_session import cpu_model


class OrtRunner:
    """One model file, or the one of a bundle that is for this processor, with its cache, updated in place."""

    chunk = 256  # tokens at a time, when a longer text is read

    def __init__(self, model: Path, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        file = model
        if model.is_dir():
            bundle = Bundle(model, read_manifest(model))
            file = bundle.file(cpu_model(bundle))
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        caches = [entry for entry in self._session.get_inputs() if entry.name.startswith("past_key_values.")]
        self.max_seq_len: int = caches[0].shape[2]
        self._caches = {entry.name: np.zeros((1, *entry.shape[1:]), np.float32) for entry in caches}

    def logits(self, tokens: list[int], past_len: int) -> NDArray[np.float32]:
        """As forward, for all the tokens."""
        return self.forward(tokens, past_len, list(range(len(tokens))))

    def forward(self, tokens: list[int], past_len: int, rows: list[int]) -> NDArray[np.float32]:
        """Append tokens to the first `past_len` cached ones; logits of those at `rows`."""
        total = past_len + len(tokens)
        inputs = {
            "input_ids": np.array([tokens], np.int64),
            "seqlens_k": np.array([total - 1], np.int32),
            "total_len": np.array(total, np.int32),
            "rows": np.array(rows, np.int64),
        }
        binding = self._session.io_binding()
        binding.bind_output("logits", "cpu")  # the first one bound is the first one got back
        for name, values in inputs.items():
            binding.bind_cpu_input(name, values)
        for name, cache in self._caches.items():
            place = ("cpu", 0, np.float32, cache.shape, cache.ctypes.data)
            binding.bind_input(name, *place)
            binding.bind_output(name.replace("past_key_values", "present"), *place)
        self._session.run_with_iobinding(binding)
        logits: NDArray[np.float32] = binding.get_outputs()[0].numpy()
        return logits
