"""Logistic regression and thresholds, for confidences. Knows nothing of reports, searches and models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# An answer that is wrong three times of four helps nobody, whatever the reports without an entry allow.
THRESHOLDS = tuple(step / 100 for step in range(25, 91))
# What one wrong answer costs, in right ones; it is what makes the least of the thresholds worth answering.
WRONG_COSTS = 1 / 3
_PENALTY = 1.0
_ROUNDS = 50


def logistic(
    features: Sequence[Sequence[float]], right: Sequence[bool], shares: Sequence[float]
) -> list[float]:
    """Bias and slopes, by Newton's method with a penalty on the slopes of standardised features."""
    values = np.array(features, np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    table = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    found = _newton(table, np.array(right, np.float64), np.array(shares, np.float64))
    slopes = found[1:] / spread
    return [round(float(value), 4) for value in (found[0] - slopes @ mean, *slopes)]


def abstaining(missing: Iterable[float], share: float) -> float:
    """The lowest threshold that so great a share of what has no entry stays below."""
    chosen = list(missing)
    enough = (level for level in THRESHOLDS if sum(one < level for one in chosen) >= share * len(chosen))
    return next(enough, THRESHOLDS[-1])


def worth_most(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """The lowest threshold at which right answers, less what the wrong ones cost, come to most."""

    def worth(level: float) -> float:
        answered = [good for conf, good in zip(confidences, right, strict=True) if conf >= level]
        return sum(answered) - WRONG_COSTS * (len(answered) - sum(answered))

    return max(THRESHOLDS, key=lambda level: (worth(level), -level))


def half_of(identity: str) -> int:
    """0 or 1, the same one always: what is fitted to one half is measured on the other."""
    return hashlib.sha256(identity.encode()).digest()[0] % 2


def _newton(
    table: NDArray[np.float64], right: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    penalty = np.diag([0.0] + [_PENALTY] * (table.shape[1] - 1))
    found = np.zeros(table.shape[1])
    for _ in range(_ROUNDS):
        odds = 1 / (1 + np.exp(-table @ found))
        slope = table.T @ (shares * (odds - right)) + penalty @ found
        curve = (table * (shares * odds * (1 - odds))[:, None]).T @ table + penalty
        found = found - np.linalg.solve(curve, slope)
    return found
