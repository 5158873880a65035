"""An embedder that knows a dozen words in two languages, and counts what it is asked."""

from __future__ import annotations

import hashlib
import threading

import numpy as np

CONCEPTS = (
    ("motor", "电机"),
    ("hot", "过热"),
    ("brake", "抱闸"),
    ("stuck", "卡住"),
    ("pressure", "压力"),
    ("low", "过低"),
    ("belt", "皮带"),
    ("slips", "打滑"),
)
WIDTH = 32


class ToyEmbedder:
    """Implements vectors.Embedder: a concept an axis, and a little of a text's own."""

    width = WIDTH

    def __init__(self, key: str = "toy-1") -> None:
        self.key = key
        self.passages_made = 0
        self.hold: threading.Event | None = None

    def query(self, text):
        return self._vector(text)

    def passages(self, texts):
        if self.hold is not None:
            self.hold.wait(10)
        self.passages_made += len(texts)
        return np.stack([self._vector(text) for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)

    def _vector(self, text):
        vector = np.zeros(WIDTH, np.float32)
        for axis, words in enumerate(CONCEPTS):
            vector[axis] = any(word in text.lower() for word in words)
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector[len(CONCEPTS) :] = np.random.default_rng(seed).normal(0, 0.02, WIDTH - len(CONCEPTS))
        return vector / np.linalg.norm(vector)
