"""Which of many vectors are nearest to one: a coarse look at all, an exact one at those that stand out.

Knows nothing of texts and of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside.diagnosis.knowledge.bits import ones

# So few are compared exactly in a millisecond; of more, this many that the coarse look puts first.
MAX_EXACT, MIN_SHORTLIST = 4096, 2048
TEXTS_EACH = 4
# Two vectors lie on the same side of most of so many random planes through the mean where they are near. The
# planes do not depend on the vectors: those of a small manual are told apart as well as those of a large one.
PLANES, SEED = 768, 20
# Rows that are turned into float32 at a time. Products of more than so many numbers are split among BLAS's
# threads, which wait for each other: ten times as long, where cores are busy.
BLOCK_ROWS, BLOCK_NUMBERS = 1024, 98_304


@dataclass(frozen=True, slots=True)
class Coarse:
    """On which side of each plane each vector is: `sides` has a row for 64 planes, a bit for each."""

    mean: NDArray[np.float32]
    planes: NDArray[np.float32]
    sides: NDArray[np.uint64]

    @classmethod
    def of(cls, vectors: NDArray[np.int8], scales: NDArray[np.float32]) -> Coarse:
        """Takes two seconds for 100,000."""
        width = vectors.shape[1]
        rng = np.random.default_rng(SEED)
        turns = [np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(-(-PLANES // width))]
        planes = np.concatenate(turns, axis=1)[:, :PLANES].astype(np.float32)
        blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(vectors), BLOCK_ROWS)]
        sums = [scales[b] @ vectors[b].astype(np.float32) for b in blocks]
        mean = (np.sum(sums, axis=0) / len(vectors)).astype(np.float32)
        sides = [_sides(vectors[b] * scales[b, None] - mean, planes) for b in blocks]
        return cls(mean, planes, np.ascontiguousarray(np.concatenate(sides).T))

    def nearest(
        self, query: NDArray[np.float32], count: int, chosen: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Of the chosen places, or of all, the `count` that are on the query's side of the most planes."""
        own = _sides((query - self.mean)[None], self.planes)[0]
        apart = np.zeros(self.sides.shape[1] if chosen is None else len(chosen), np.uint16)
        # Of its own size an array is a new piece of memory each time, which costs more than the comparison.
        differing = np.empty(len(apart), np.uint64)
        for side, sides in zip(own, self.sides, strict=True):
            np.bitwise_xor(sides if chosen is None else sides[chosen], side, out=differing)
            apart += ones(differing)
        # Cheaper than a partition.
        within = int(np.searchsorted(np.cumsum(np.bincount(apart)), count))
        nearer, equal = np.flatnonzero(apart < within), np.flatnonzero(apart == within)
        return np.sort(np.concatenate((nearer, equal[: count - len(nearer)])))


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
        order = np.argsort(-values, kind="stable")
        # Most entries have few texts: their nearest stand among the first.
        rows = self._index.rows[places[order]]
        found = dict.fromkeys(rows[: TEXTS_EACH * count].tolist())
        if len(found) < count:
            found = dict.fromkeys(rows.tolist())
        return list(found)[:count]

    def _shortlist(self, count: int) -> NDArray[np.int64]:
        index = self._index
        if self._facets is None:
            places = np.arange(len(index.rows))
        else:
            places = np.flatnonzero(np.isin(index.facets, self._facets))
        # Several languages of an entry may be near.
        wanted = max(MIN_SHORTLIST, TEXTS_EACH * count)
        if index.coarse is None or len(places) <= max(MAX_EXACT, wanted):
            return places
        chosen = None if self._facets is None else places
        return places[index.coarse.nearest(self._query, wanted, chosen)]


def _sides(vectors: NDArray[np.float32], planes: NDArray[np.float32]) -> NDArray[np.uint64]:
    step = BLOCK_NUMBERS // len(planes)
    heights = [vectors @ planes[:, start : start + step] for start in range(0, planes.shape[1], step)]
    packed: NDArray[np.uint64] = np.packbits(np.concatenate(heights, axis=1) > 0, axis=1).view(np.uint64)
    return packed


def _products(
    table: NDArray[np.int8], by: NDArray[np.float32], places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The table's rows at `places` times a vector; never all of it in float32."""
    found = np.empty(len(places), np.float32)
    block_rows = BLOCK_NUMBERS // table.shape[1]
    for start in range(0, len(places), block_rows):
        part = slice(start, start + block_rows)
        np.dot(table[places[part]].astype(np.float32), by, out=found[part])
    return found
