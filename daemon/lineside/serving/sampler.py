"""Picks a token from logits. Knows nothing of text, grammars' insides or scheduling."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lineside.serving.request import Sampling

if TYPE_CHECKING:
    from lineside.engine.base import Logits

# Of less than a sixteenth of the vocabulary, gathering costs less than looking at all of it.
FEW = 16
# Distances from the likeliest logit within which it is looked for what a filter keeps.
MARGINS = (2.0, 4.0, 8.0, 16.0, np.inf)
# Below it no two logits that differ leave the less likely one a chance.
LEAST_TEMPERATURE = 1e-30


class Sampler:
    """One request's way of picking; its random state is the request's own, so neighbours change nothing."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # numpy's generators would take 7 MB more memory, for one number a token.
        self._random = random.Random(sampling.seed)  # noqa: S311 a sample, no secret

    def pick(self, logits: Logits, allowed: NDArray[np.bool_] | None = None) -> tuple[int, float]:
        """A token of logits [vocab_size] and its probability; `allowed` [vocab_size] limits the choice.

        Of logits on a device no more comes to the host than the choice needs.
        """
        if allowed is None:
            if self._sampling.temperature == 0.0 and not isinstance(logits, np.ndarray):
                return logits.best()
            return self._pick(np.asarray(logits))
        if isinstance(logits, np.ndarray) and np.count_nonzero(allowed) > len(allowed) // FEW:
            return self._pick(np.where(allowed, logits, -np.inf))
        ids = np.flatnonzero(allowed)
        index, probability = self._pick(logits[ids])
        return int(ids[index]), probability

    def token(self, logits: Logits) -> int:
        """As pick, without the probability, which takes longer than the choice of the likeliest."""
        if self._sampling.temperature == 0.0 and isinstance(logits, np.ndarray):
            return int(logits.argmax())
        return self.pick(logits)[0]

    def _pick(self, candidates: NDArray[np.float32]) -> tuple[int, float]:
        """The index of one, and its probability among them; -inf is never it."""
        if self._sampling.temperature > 0.0:
            return self._draw(candidates)
        index = int(candidates.argmax())
        return index, 1.0 / float(np.exp(candidates - candidates[index]).sum())

    def _draw(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        """temperature, then the top_k most likely, then the fewest that make up top_p."""
        # The differences first: whatever the temperature, the likeliest stays 0 and the others go down.
        with np.errstate(over="ignore"):
            weights = np.exp((logits - logits.max()) / max(self._sampling.temperature, LEAST_TEMPERATURE))
        kept = self._kept(logits, weights)
        mass = np.cumsum(weights if kept is None else weights[kept], dtype=np.float64)
        choice = int(np.searchsorted(mass, self._random.random() * mass[-1], side="right"))
        probability = float(mass[choice] - (mass[choice - 1] if choice else 0.0)) / float(mass[-1])
        return (choice if kept is None else int(kept[choice])), probability

    def _kept(self, logits: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.intp] | None:
        """What the filters leave, the likeliest first; None for all.

        All of the vocabulary is never sorted: what is near enough to the likeliest is as good a beginning.
        """
        top_k, top_p = self._sampling.top_k, self._sampling.top_p
        if not top_k and top_p >= 1.0:
            return None
        total, best = float(weights.sum(dtype=np.float64)), float(logits.max())
        for margin in MARGINS:
            near = np.flatnonzero(logits >= best - margin)
            if len(near) >= top_k if top_k else float(weights[near].sum(dtype=np.float64)) >= top_p * total:
                break
        near = near[np.argsort(-logits[near], kind="stable")]
        if top_k:
            near = near[:top_k]
            total = float(weights[near].sum(dtype=np.float64))
        if top_p < 1.0:
            near = near[: int(np.searchsorted(np.cumsum(weights[near], dtype=np.float64), top_p * total)) + 1]
        return near
