"""How likely a model holds texts to be the answer to a question. Knows nothing of reports and of grammars."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import numpy as np
from numpy.typing import NDArray

from lineside.engine.base import Engine, Extension
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.model import open_engine
from lineside.evaluation.sensoriq import Question
from lineside.serving.tokenizer import Tokenizer

# The same words, but nothing to answer: what the model thinks of an option whatever it is asked.
NO_QUESTION = "Which one of the choices is the most relevant one?"
INSTRUCTION = "Answer with its name alone."


class LikelihoodScorer:
    """Implements sensoriq.Scorer. A question is read once, then each option."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._engine, self._tokenizer = engine, tokenizer
        self._priors: dict[str, float] = {}

    async def likelihoods(self, question: Question) -> list[float]:
        """See sensoriq.Scorer."""
        return await anyio.to_thread.run_sync(self._likelihoods, question.question, question.options)

    async def priors(self, question: Question) -> list[float]:
        """See sensoriq.Scorer."""
        new = [option for option in question.options if option not in self._priors]
        if new:
            found = await anyio.to_thread.run_sync(self._likelihoods, NO_QUESTION, new)
            self._priors.update(zip(new, found, strict=True))
        return [self._priors[option] for option in question.options]

    def _likelihoods(self, question: str, options: Sequence[str]) -> list[float]:
        return self._behind(self._tokenizer.chat([("user", f"{question} {INSTRUCTION}")]), options)

    def _behind(self, text: str, options: Sequence[str]) -> list[float]:
        prompt = self._tokenizer.encode(text)
        behind = [self._tokenizer.encode_more(option) for option in options]
        longest, room = len(prompt) + max(map(len, behind)), self._engine.capabilities.max_seq_len
        if longest > room:
            message = f"a prompt and what stands behind it have {longest} tokens, and the bundle takes {room}"
            raise EvaluationError("ask model", message, "build the bundle with a greater --max-seq-len")
        first = self._read(prompt)
        return [self._likelihood(first, len(prompt), tokens) for tokens in behind]

    def _read(self, prompt: Sequence[int]) -> NDArray[np.float64]:
        """Log probabilities of what comes after the prompt."""
        longest = self._engine.capabilities.max_chunk_tokens
        for start in range(0, len(prompt), longest):
            tokens = prompt[start : start + longest]
            last = start + len(tokens) == len(prompt)
            rows = (len(tokens) - 1,) if last else ()
            (logits,) = self._engine.forward([Extension(0, start, tokens, rows)])
        return _log_softmax(np.asarray(logits[0]))

    def _likelihood(self, first: NDArray[np.float64], past_len: int, tokens: Sequence[int]) -> float:
        found = float(first[tokens[0]])
        if len(tokens) == 1:
            return found
        read = tokens[:-1]
        (logits,) = self._engine.forward([Extension(0, past_len, read, tuple(range(len(read))))])
        pairs = zip(logits, tokens[1:], strict=True)
        return found + sum(float(_log_softmax(np.asarray(row))[token]) for row, token in pairs)


@contextlib.asynccontextmanager
async def open_scorer(bundle: Path) -> AsyncIterator[LikelihoodScorer]:
    """The bundle's model on the engine that the daemon would choose, read directly."""
    async with open_engine(bundle) as (engine, loaded):
        yield LikelihoodScorer(engine, loaded.tokenizer)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found
