import threading

import numpy as np
import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.diagnosis.diagnosis_builders import entry, text

from lineside.diagnosis.knowledge import vectors as module
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.knowledge.vectors import Vectors
from lineside.diagnosis.knowledge.writing import write_all

HOT = entry("1", "Motor is hot", source="a", zh=text("电机过热"))
STUCK = entry("2", "Brake is stuck", source="b")
LOW = entry("3", "", source="c", zh=text("压力过低"))


@pytest.fixture
def path(tmp_path):
    write_all(tmp_path / "knowledge.db", [HOT, STUCK, LOW])
    return tmp_path / "knowledge.db"


@pytest.fixture
def opened(path):
    """opened(embedder): vectors that are ready, and their store."""
    kept = []

    def run(embedder):
        store = Store(path)
        vectors = Vectors(store, embedder)
        kept.extend((vectors, store))
        return vectors, store

    yield run
    for one in kept:
        one.close()


def nearest(vectors, store, query, facets=None):
    with store.snapshot() as snapshot:
        cosines = vectors.index(snapshot.version).cosines(vectors.embedder.query(query), facets)
        return [one.entry.id for one in snapshot.by_rows(cosines.nearest(9))]


def test_an_entry_is_near_in_either_language(opened):
    vectors, store = opened(ToyEmbedder())
    assert vectors.wait(10)
    assert nearest(vectors, store, "the motor runs hot")[0] == HOT.id
    assert nearest(vectors, store, "low pressure")[0] == LOW.id
    assert len(nearest(vectors, store, "抱闸卡住")) == 3


def test_other_facets_are_left_out(opened):
    vectors, store = opened(ToyEmbedder())
    assert vectors.wait(10)
    with store.snapshot() as snapshot:
        facet = next(facet.id for facet in snapshot.facets if facet.source == "b")
    assert nearest(vectors, store, "hot motor", [facet]) == [STUCK.id]


def test_eight_bits_are_close_to_the_vectors(opened):
    vectors, store = opened(ToyEmbedder())
    assert vectors.wait(10)
    expected = module.passage_vectors(vectors.embedder, [STUCK.en])[0]
    query = vectors.embedder.query("brake")
    cosines = vectors.index(store.version).cosines(query, None)
    with store.snapshot() as snapshot:
        row = next(row for row, _, one in snapshot.rows() if one.id == STUCK.id)
    assert cosines.of(row) == pytest.approx(float(expected @ query), abs=0.01)
    assert cosines.of(99) == 0.0


@pytest.mark.parametrize("facets", [None, [1, 3]])
def test_blocks_of_rows_are_as_one(monkeypatch, facets):
    rng = np.random.default_rng(5)
    vectors = rng.integers(-127, 128, (100, 8)).astype(np.int8)
    index = module.VectorIndex(
        "1", np.repeat(np.arange(50), 2), np.repeat(np.arange(50) % 5, 2), vectors, np.full(100, 0.01, "f4")
    )
    query = rng.normal(size=8).astype(np.float32)
    whole = index.cosines(query, facets)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    parts = index.cosines(query, facets)
    expected = (vectors.astype(np.float32) @ query * 0.01).reshape(50, 2).max(axis=1)
    assert whole.nearest(99) == parts.nearest(99)
    assert len(whole.nearest(99)) == (50 if facets is None else 20)
    for row in whole.nearest(99):
        assert whole.of(row) == pytest.approx(max(float(expected[row]), 0.0), abs=1e-5)


def test_what_was_computed_is_kept_in_a_file(opened):
    first, again, other = ToyEmbedder(), ToyEmbedder(), ToyEmbedder("toy-2")
    assert opened(first)[0].wait(10)
    vectors, store = opened(again)
    assert vectors.wait(10)
    assert (first.passages_made, again.passages_made) == (8, 0)
    assert nearest(vectors, store, "the motor runs hot")[0] == HOT.id
    assert opened(other)[0].wait(10)
    assert other.passages_made == 8, "another model's vectors are of no use"


def test_an_import_computes_only_what_is_new(opened, path):
    embedder = ToyEmbedder()
    vectors, store = opened(embedder)
    assert vectors.wait(10)
    write_all(path, [HOT, STUCK, LOW, entry("4", "Belt slips", source="d")])
    before = embedder.passages_made
    assert vectors.index(store.version) is None, "the old index is not used for the new version"
    assert vectors.wait(10)
    assert embedder.passages_made - before == 2
    assert nearest(vectors, store, "slips, the belt")[0] == "d::4"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'"])
def test_a_file_of_no_use_is_made_anew(opened, path, content):
    embedder = ToyEmbedder()
    kept = path.with_name(f"{path.name}.{embedder.key}.npy")
    kept.write_bytes(content)
    assert opened(embedder)[0].wait(10)
    assert embedder.passages_made == 8
    assert len(np.load(kept)) == 4


def test_a_directory_that_cannot_be_written_costs_only_the_file(opened, path):
    kept = path.with_name(f"{path.name}.toy-1.npy")
    kept.mkdir()
    vectors, store = opened(ToyEmbedder())
    assert vectors.wait(10)
    assert nearest(vectors, store, "motor hot")[0] == HOT.id
    assert [one.name for one in path.parent.iterdir() if "npy." in one.name] == []


def test_a_bound_on_the_texts(opened, monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_TEXTS", 2)
    vectors, store = opened(ToyEmbedder())
    assert vectors.wait(10)
    assert len(vectors.index(store.version).rows) == 2
    assert "vectors for 2 of 4 texts" in caplog.text


def test_closing_stops_and_keeps_what_was_computed(opened, path, monkeypatch):
    monkeypatch.setattr(module, "STEP_TEXTS", 1)
    embedder = ToyEmbedder()
    embedder.hold = threading.Event()
    vectors, store = opened(embedder)
    assert vectors.index(store.version) is None
    closing = threading.Thread(target=vectors.close)
    closing.start()
    while not vectors._stop.is_set():
        pass
    embedder.hold.set()
    closing.join(10)
    assert not closing.is_alive()
    assert embedder.passages_made < 8
    assert 0 < len(np.load(path.with_name(f"{path.name}.toy-1.npy"))) < 4
    assert vectors.index(store.version) is None


def test_an_embedder_that_fails_is_not_asked_for_ever(opened, caplog):
    class Broken(ToyEmbedder):
        asked = 0

        def passages(self, texts):
            self.asked += 1
            raise RuntimeError("no memory")

    embedder = Broken()
    vectors, store = opened(embedder)
    assert not vectors.wait(10)
    assert not vectors.wait(10)
    assert embedder.asked == 1
    assert "searched by words alone" in caplog.text
    assert vectors.index(store.version) is None
