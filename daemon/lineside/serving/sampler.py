"""Picks a token from logits. Knows nothing of text, grammars' insides or scheduling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lineside.serving.request import Sampling

if TYPE_CHECKING:
    from lineside.engine.base import Logits


class Sampler:
    """One request's way of picking; its random state is the request's own, so neighbours change nothing."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def pick(self, logits: Logits, allowed: NDArray[np.intp] | None = None) -> tuple[int, float]:
        """A token of logits [vocab_size] and its probability; `allowed` limits the choice to those ids.

        Of logits on a device no more comes to the host than the choice needs.
        """
        if allowed is None and self._sampling.temperature == 0.0 and not isinstance(logits, np.ndarray):
            return logits.best()
        candidates = np.asarray(logits) if allowed is None else logits[allowed]
        if self._sampling.temperature == 0.0:
            index = int(candidates.argmax())
            probability = 1.0 / float(np.exp(candidates - candidates[index]).sum())
        else:
            index, probability = self._draw(candidates)
        return (index if allowed is None else int(allowed[index])), probability

    def _draw(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        """temperature, then the top_k most likely, then the fewest that make up top_p."""
        sampling = self._sampling
        order = np.argsort(-logits, kind="stable")
        if sampling.top_k:
            order = order[: sampling.top_k]
        # The differences first: whatever the temperature, the likeliest stays 0 and the others go down.
        below = logits[order].astype(np.float64) - float(logits[order[0]])
        with np.errstate(over="ignore"):
            weights = np.exp(below / sampling.temperature)
        weights /= weights.sum()
        if sampling.top_p < 1.0:
            kept = int(np.searchsorted(np.cumsum(weights), sampling.top_p)) + 1
            weights = weights[:kept] / weights[:kept].sum()
        choice = int(self._random.choice(len(weights), p=weights))
        return int(order[choice]), float(weights[choice])
