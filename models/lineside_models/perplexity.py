"""Perplexity of a bundle over a text, through ONNX Runtime. Knows nothing of how the bundle was built."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lineside.engine.bundle import TOKENIZER, Bundle
from lineside_models.errors import BuildError
from lineside_models.ort_runner import OrtRunner

_CHUNK = 256


class Perplexity(msgspec.Struct, frozen=True):
    """Perplexity over `tokens` predicted tokens."""

    text: str
    tokens: int
    perplexity: float


def calibration_text(language: str) -> Path:
    """The text in `language` that comes with the build step."""
    return Path(__file__).parent / "data" / f"calibration.{language}.txt"


def measure_perplexity(bundle: Bundle, text: Path, model: Path | None = None) -> Perplexity:
    """Predict every token of the text but the first, in windows that do not overlap.

    `model` is another graph over the same weights than the bundle's own.
    """
    try:
        content = text.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "give --text a readable file in UTF-8"
        raise BuildError("measure perplexity", f"{text}: {error}", hint) from error
    ids: list[int] = (
        Tokenizer.from_file(str(bundle.file(TOKENIZER))).encode(content, add_special_tokens=False).ids
    )
    bos = [] if bundle.manifest.tokens.bos is None else [bundle.manifest.tokens.bos]
    runner = OrtRunner(model or bundle.path)
    step = runner.max_seq_len - len(bos)
    losses = [_window_losses(runner, bos + ids[start : start + step]) for start in range(0, len(ids), step)]
    total = np.concatenate(losses)
    if not len(total):
        raise BuildError("measure perplexity", f"{text} has no two tokens", "give a longer --text")
    return Perplexity(text.name, len(total), math.exp(float(total.mean())))


def _window_losses(runner: OrtRunner, ids: list[int]) -> NDArray[np.float64]:
    """Negative log probability of each token after the first. Logits are held a chunk at a time."""
    losses = [np.zeros(0)]
    for past in range(0, len(ids) - 1, _CHUNK):
        chunk = ids[past : past + _CHUNK]
        following = ids[past + 1 : past + 1 + len(chunk)]
        logits = runner.forward(chunk, past, list(range(len(following)))).astype(np.float64)
        top = logits.max(axis=-1)
        normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
        losses.append(normaliser - logits[np.arange(len(following)), following])
    return np.concatenate(losses)
