"""Perplexity of a bundle over a text, through ONNX Runtime. Knows nothing of how the bundle was built."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lineside.engine.bundle import TOKENIZER, Bundle
from lineside.plain_files import read_plain
from lineside_models.errors import BuildError
from lineside_models.ort_runner import OrtRunner

MAX_TEXT_BYTES = 64 << 20


class Runner(Protocol):
    """Something that reads one sequence, at most `chunk` tokens at a time."""

    chunk: int
    max_seq_len: int

    def logits(self, tokens: list[int], past_len: int) -> NDArray[np.float32]:
        """Append tokens to the first `past_len` cached ones; the logits of each."""


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
    return perplexity_of(bundle, OrtRunner(model or bundle.path), text)


def perplexity_of(
    bundle: Bundle, runner: Runner, text: Path, advance: Callable[[int], None] = lambda _: None
) -> Perplexity:
    """What `runner` makes of the text, in the bundle's tokens. `advance` hears of every token read."""
    try:
        content = read_plain(text, MAX_TEXT_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        hint = "give --text a readable file in UTF-8"
        raise BuildError("measure perplexity", f"{text}: {error}", hint) from error
    ids: list[int] = (
        Tokenizer.from_file(str(bundle.file(TOKENIZER))).encode(content, add_special_tokens=False).ids
    )
    bos = [] if bundle.manifest.tokens.bos is None else [bundle.manifest.tokens.bos]
    step = runner.max_seq_len - len(bos)
    losses = [
        _window_losses(runner, bos + ids[start : start + step], advance) for start in range(0, len(ids), step)
    ]
    total = np.concatenate(losses)
    if not len(total):
        raise BuildError("measure perplexity", f"{text} has no two tokens", "give a longer --text")
    return Perplexity(text.name, len(total), math.exp(float(total.mean())))


def _window_losses(runner: Runner, ids: list[int], advance: Callable[[int], None]) -> NDArray[np.float64]:
    """Negative log probability of each token after the first. Logits are held a chunk at a time."""
    losses = [np.zeros(0)]
    for past in range(0, len(ids) - 1, runner.chunk):
        chunk = ids[past : past + runner.chunk]
        following = ids[past + 1 : past + 1 + len(chunk)]
        logits = runner.logits(chunk, past)[: len(following)].astype(np.float64)
        advance(len(chunk))
        top = logits.max(axis=-1)
        normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
        losses.append(normaliser - logits[np.arange(len(following)), following])
    return np.concatenate(losses)
