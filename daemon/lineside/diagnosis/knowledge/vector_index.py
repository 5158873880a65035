"""Which of many vectors are nearest to one: a coarse look at all, an exact one at those that stand out.

Knows nothing of texts and of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# So few are compared exactly in a millisecond; of more, this many that the coarse look puts first.
MAX_EXACT, MIN_SHORTLIST = 8192, 4096
# Directions in which the vectors differ most, and how many of them tell which those are.
COARSE_WIDTH, SAMPLE_ROWS = 96, 8192
# Rows that are turned into float32 at a time. Products of more than so many numbers are split among BLAS's
# threads, which wait for each other: ten times as long, where cores are busy.
BLOCK_ROWS, BLOCK_NUMBERS = 1024, 98_304


@dataclass(frozen=True, slots=True)
class Coarse:
    """Each vector by its place along few directions, in 8 bits."""

    directions: NDArray[np.float32]
    places: NDArray[np.int8]

    @classmethod
    def of(cls, vectors: NDArray[np.int8], scales: NDArray[np.float32]) -> Coarse:
        """Learn the directions from the vectors themselves. Takes a second for 100,000."""
        step = max(1, len(vectors) // SAMPLE_ROWS)
        sample = vectors[::step].astype(np.float32) * scales[::step, None]
        mean = sample.mean(axis=0)
        sample -= mean
        _, found = np.linalg.eigh(sample.T @ sample)
        directions = np.ascontiguousarray(found[:, -COARSE_WIDTH:], np.float32)
        blocks = (slice(start, start + BLOCK_ROWS) for start in range(0, len(vectors), BLOCK_ROWS))
        along = np.concatenate([(vectors[b] * scales[b, None] - mean) @ directions for b in blocks])
        scale = float(np.abs(along).max()) or 1.0
        return cls(directions, np.rint(along * (127 / scale)).astype(np.int8))


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """The vectors of one version of the knowledge base, by ascending row: for each its entry's row and facet.

    A vector is its 8 bit numbers times its scale. `coarse` is None where there are few.
    """

    version: str
    rows: NDArray[np.int64]
    facets: NDArray[np.int64]
    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    coarse: Coarse | None

    @classmethod
    def of(
        cls,
        version: str,
        rows: NDArray[np.int64],
        facets: NDArray[np.int64],
        vectors: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> VectorIndex:
        """With what a search needs made ready."""
        coarse = Coarse.of(vectors, scales) if len(rows) > MAX_EXACT else None
        return cls(version, rows, facets, vectors, scales, coarse)

    def cosines(self, query: NDArray[np.float32], facets: Sequence[int] | None) -> Cosines:
        """With the texts in these facets; in all where none are named."""
        return Cosines(self, query, None if facets is None else np.asarray(facets, np.int64))

    def exact(self, query: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines with the vectors at these places."""
        return _products(self.vectors, query, places) * self.scales[places]


class Cosines:
    """How near entries are to a query, the better of their languages, by row."""

    def __init__(
        self, index: VectorIndex, query: NDArray[np.float32], facets: NDArray[np.int64] | None
    ) -> None:
        self._index = index
        self._query = query
        self._facets = facets

    def of(self, rows: Sequence[int]) -> list[float]:
        """Of these entries, in their order; 0 where one has no vector."""
        wanted = np.asarray(rows, np.int64)
        first, last = (np.searchsorted(self._index.rows, wanted + one) for one in (0, 1))
        places = np.concatenate([first[:0], *map(np.arange, first, last)])
        best = np.zeros(len(wanted), np.float32)
        owners = np.repeat(np.arange(len(wanted)), last - first)
        np.maximum.at(best, owners, self._index.exact(self._query, places))
        found: list[float] = best.tolist()
        return found

    def nearest(self, count: int) -> list[int]:
        """Rows of the nearest entries, the nearest first."""
        places = self._shortlist(count)
        values = self._index.exact(self._query, places)
        order = places[np.argsort(-values, kind="stable")]
        return list(dict.fromkeys(map(int, self._index.rows[order])))[:count]

    def _shortlist(self, count: int) -> NDArray[np.int64]:
        index = self._index
        if self._facets is None:
            places = np.arange(len(index.rows))
        else:
            places = np.flatnonzero(np.isin(index.facets, self._facets))
        # Several languages of an entry may be near.
        wanted = max(MIN_SHORTLIST, 4 * count)
        if index.coarse is None or len(places) <= max(MAX_EXACT, wanted):
            return places
        along = self._query @ index.coarse.directions
        chosen = None if self._facets is None else places
        standing_out = np.argpartition(_products(index.coarse.places, along, chosen), -wanted)[-wanted:]
        return places[np.sort(standing_out)]


def _products(
    table: NDArray[np.int8], by: NDArray[np.float32], places: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """The table's rows at `places`, or all, times a vector; never all of it in float32."""
    count = len(table) if places is None else len(places)
    found = np.empty(count, np.float32)
    block_rows = BLOCK_NUMBERS // table.shape[1]
    for start in range(0, count, block_rows):
        part = slice(start, start + block_rows)
        rows = table[part if places is None else places[part]].astype(np.float32)
        np.dot(rows, by, out=found[part])
    return found
