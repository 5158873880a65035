import numpy as np
import pytest

from lineside.diagnosis.knowledge import vector_index
from lineside.diagnosis.knowledge.vector_index import VectorIndex

WIDTH = 96


@pytest.fixture
def few_at_a_time(monkeypatch):
    """As with a large base: a coarse look first, in several blocks."""
    monkeypatch.setattr(vector_index, "MAX_EXACT", 100)
    monkeypatch.setattr(vector_index, "MIN_SHORTLIST", 400)
    monkeypatch.setattr(vector_index, "BLOCK_ROWS", 37)
    monkeypatch.setattr(vector_index, "BLOCK_NUMBERS", 37 * WIDTH)


def made(count=1000, seed=5):
    """Vectors of texts: about one mean, and more apart in some directions than in others."""
    rng = np.random.default_rng(seed)
    spread = (1 + np.arange(WIDTH)) ** -0.5
    floats = rng.normal(size=(count, WIDTH)) * spread @ np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    floats = (floats + rng.normal(size=WIDTH)).astype(np.float32)
    floats /= np.linalg.norm(floats, axis=1, keepdims=True)
    scales = np.abs(floats).max(axis=1) / 127
    vectors = np.rint(floats / scales[:, None]).astype(np.int8)
    rows = np.repeat(np.arange(1, count // 2 + 1), 2)
    index = VectorIndex.of("1", rows, rows % 5, vectors, scales.astype(np.float32))
    return index, vectors.astype(np.float32) * scales[:, None]


def by_row(index, cosines, facets):
    """Rows by the better of their cosines, all of them looked at."""
    best = {}
    for row, facet, cosine in zip(index.rows.tolist(), index.facets.tolist(), cosines.tolist(), strict=True):
        if facets is None or facet in facets:
            best[row] = max(cosine, best.get(row, -1.0))
    return sorted(best, key=lambda row: -best[row]), best


@pytest.mark.parametrize("facets", [None, [1, 3]])
def test_few_are_compared_exactly(facets, monkeypatch):
    monkeypatch.setattr(vector_index, "BLOCK_NUMBERS", 7 * WIDTH)
    index, floats = made(100)
    assert index.coarse is None
    query = floats[40] + floats[7]
    ordered, best = by_row(index, floats @ query, facets)
    cosines = index.cosines(query, facets)
    assert cosines.nearest(99) == ordered
    assert cosines.of(ordered) == pytest.approx([max(best[row], 0.0) for row in ordered], abs=1e-4)
    assert cosines.of([999, ordered[0], 0]) == [0.0, cosines.of(ordered[:1])[0], 0.0]


@pytest.mark.parametrize("facets", [None, [0, 1, 2]])
def test_of_many_nearly_all_of_the_nearest_are_found(few_at_a_time, facets):
    index, floats = made()
    assert index.coarse is not None
    rng, found = np.random.default_rng(11), 0
    for _ in range(50):
        query = floats[rng.integers(1000)] + 0.5 * floats[rng.integers(1000)]
        query = (query / np.linalg.norm(query)).astype(np.float32)
        ordered, _ = by_row(index, floats @ query, facets)
        found += len(set(index.cosines(query, facets).nearest(10)) & set(ordered[:10]))
    assert found >= 0.99 * 50 * 10


def test_other_facets_are_never_near(few_at_a_time):
    index, floats = made()
    near = index.cosines(floats[3], [2, 4]).nearest(400)
    assert {row % 5 for row in near} == {2, 4}
    assert index.cosines(floats[3], []).nearest(9) == []


def test_the_coarse_look_is_small(few_at_a_time):
    index, _ = made()
    assert (index.coarse.sides.dtype, index.coarse.sides.shape) == (np.uint64, (12, 1000))


def test_equal_vectors_are_no_trouble(few_at_a_time):
    vectors = np.full((300, WIDTH), 9, np.int8)
    index = VectorIndex.of("1", np.arange(300), np.zeros(300, np.int64), vectors, np.full(300, 0.01, "f4"))
    assert len(index.cosines(np.full(WIDTH, 0.1, np.float32), None).nearest(32)) == 32


def test_nothing_is_near_where_there_is_nothing():
    none = np.zeros(0, np.int64)
    index = VectorIndex.of("1", none, none, np.zeros((0, WIDTH), np.int8), np.zeros(0, np.float32))
    cosines = index.cosines(np.ones(WIDTH, np.float32), None)
    assert (cosines.nearest(5), cosines.of([1]), cosines.of([])) == ([], [0.0], [])
