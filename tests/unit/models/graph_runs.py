"""Runs built graphs for tests: a batch with caches in place, and values as the graph has them."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


class BatchRun:
    """A session whose past and present are the same memory, for several sequences."""

    def __init__(self, model: Path, slots: int) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        caches = [i for i in self.session.get_inputs() if i.name.startswith("past_key_values.")]
        self.caches = {i.name: np.full((slots, *i.shape[1:]), np.nan, np.float32) for i in caches}

    def step(self, first: int, tokens, lengths, rows) -> np.ndarray:
        """Extend slots from `first` on; `lengths` are the sequences' lengths after the step."""
        tokens = np.array(tokens, np.int64)
        inputs = {
            "input_ids": tokens,
            "seqlens_k": np.array(lengths, np.int32) - 1,
            "total_len": np.array(max(lengths), np.int32),
            "rows": np.array(rows, np.int64),
        }
        binding = self.session.io_binding()
        binding.bind_output("logits", "cpu")
        for name, values in inputs.items():
            binding.bind_cpu_input(name, values)
        for name, cache in self.caches.items():
            part = cache[first : first + len(tokens)]
            place = ("cpu", 0, np.float32, part.shape, part.ctypes.data)
            binding.bind_input(name, *place)
            binding.bind_output(name.replace("past_key_values", "present"), *place)
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()


def stored_lookup(store, tiny_or_geometry):
    """Canonical checkpoint names, answered from a store: the fused matrices cut apart again."""
    g = tiny_or_geometry
    q, kv = g.heads * g.head_dim, g.kv_heads * g.head_dim
    cuts = {
        "q_proj": ("qkv", 0, q),
        "k_proj": ("qkv", q, q + kv),
        "v_proj": ("qkv", q + kv, q + 2 * kv),
        "gate_proj": ("gate_up", 0, g.intermediate),
        "up_proj": ("gate_up", g.intermediate, 2 * g.intermediate),
    }

    # A fused matrix is asked for by each of its parts, one after the other.
    values = functools.lru_cache(maxsize=4)(store.values)

    def lookup(name: str) -> np.ndarray:
        bias = ".bias" if name.endswith(".bias") else ""
        prefix, _, part = name.removesuffix(".bias").rpartition(".")
        fused, start, stop = cuts.get(part, (part, 0, None))
        return values(f"{prefix}.{fused}{bias}" if prefix else name)[start:stop]

    return lookup


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, in units of the largest logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
