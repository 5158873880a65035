"""Sentences to vectors, by the embedder that a bundle may carry. Knows nothing of entries or of searching.

One thread of its own: a query costs milliseconds, and the cores belong to the engine.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

# ONNX Runtime's wheels send telemetry unless this is set before the import. A factory is offline.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lineside.engine.bundle import EMBEDDER_MODEL, EMBEDDER_TOKENIZER, Bundle, BundleError

MAX_CHARACTERS = 2000
# Longer passages cost more than their ends tell.
MAX_TOKENS = 192
BATCH = 4


class OnnxEmbedder:
    """Thread-safe. `key` names the vectors that it makes: another model's cannot be compared with them."""

    def __init__(self, bundle: Bundle) -> None:
        facts = bundle.manifest.embedder
        if facts is None:
            hint = "build the bundle with --embedder multilingual-e5-small"
            raise BundleError("load embedder", f"{bundle.path} carries none", hint)
        self.key = f"{facts.name}-{facts.source.sha256[:12]}"
        self.width = facts.width
        self._facts = facts
        try:
            self._tokenizer = Tokenizer.from_file(str(bundle.file(EMBEDDER_TOKENIZER)))
            self._tokenizer.enable_truncation(min(facts.max_tokens, MAX_TOKENS))
            self._session = _open_session(bundle)
        except Exception as error:  # both libraries raise their own kinds
            hint = f"build it again: lineside-build build {bundle.manifest.name} --output {bundle.path}"
            raise BundleError("load embedder", f"{bundle.path}: {error}", hint) from error

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector, of length one, that a report's text is looked up by."""
        rows = self._run([self._facts.query_prefix + text[:MAX_CHARACTERS]])
        return rows.reshape(self.width)

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row of length one for each text that is to be found."""
        rows = np.zeros((len(texts), self.width), np.float32)
        # Of like length together: the shorter ones of a batch cost as much as its longest.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            prefix = self._facts.passage_prefix
            rows[chosen] = self._run([prefix + texts[index][:MAX_CHARACTERS] for index in chosen])
        return rows

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encoded = self._tokenizer.encode_batch(list(texts))
        longest = max(len(one.ids) for one in encoded)
        ids = np.zeros((len(texts), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(encoded):
            ids[row, : len(one.ids)] = one.ids
            mask[row, : len(one.ids)] = 1
        vectors: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors


def _open_session(bundle: Bundle) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # Texts come in every length: an arena would keep the largest of each.
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(bundle.file(EMBEDDER_MODEL), options, providers=["CPUExecutionProvider"])
