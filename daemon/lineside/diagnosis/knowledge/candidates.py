"""Which entries share the most telling terms with a text. Knows no SQL and no texts.

The rarest terms find entries; more common ones only part those that were found from each other, and only
while that changes who is among the best. So what a text costs depends little on how large the base is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.diagnosis.knowledge.similarity import rarity

# Places of all the terms that find, and of those that part; the first one finds whatever it costs.
MAX_FINDING, MAX_PARTING = 2000, 20_000
MAX_TERMS = 24
BODY_SHARE = 0.5

Rows = NDArray[np.int64]


class Holding(Protocol):
    """Rows of the entries that hold a term."""

    def __call__(self, term: str, part: str, also: Sequence[str] = ()) -> Rows:
        """`part`: title, body, or both; `also`: that hold any of these, too, in either."""


def best_rows(
    holding: Holding, known: Sequence[tuple[int, str]], entries: int, limit: int
) -> list[tuple[int, float]]:
    """Up to `limit` rows with their score, best first.

    `known`: terms, rarest first, each behind the number of entries that hold it. Rows are 1 to `entries`.
    """
    scores = np.zeros(entries + 1, np.float32)
    known = known[:MAX_TERMS]
    finding: list[str] = []
    places = 0
    for count, term in known:
        places += count
        if finding and places > MAX_FINDING:
            break
        finding.append(term)
        weight = rarity(count, entries)
        scores[holding(term, "title")] += weight
        scores[holding(term, "body")] += weight * BODY_SHARE
    found = np.flatnonzero(scores)
    places = 0
    for count, term in known[len(finding) :]:
        places += count
        if places > MAX_PARTING or _is_parted(scores[found], limit):
            break
        scores[holding(term, "title body", finding)] += rarity(count, entries)
    best = found[np.argsort(-scores[found], kind="stable")][:limit]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))


def _is_parted(scores: NDArray[np.float32], limit: int) -> bool:
    """Whether none behind the best is as good as the last of them."""
    if len(scores) <= limit:
        return True
    ordered = np.partition(scores, (-limit - 1, -limit))
    return bool(ordered[-limit - 1] < ordered[-limit])
