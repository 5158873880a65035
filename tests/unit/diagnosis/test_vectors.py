import contextlib
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
    assert cosines.of([row, 99]) == pytest.approx([float(expected @ query), 0.0], abs=0.01)


def test_what_was_computed_is_kept_in_a_file(opened):
    first, again, other = ToyEmbedder(), ToyEmbedder(), ToyEmbedder("toy-2")
    assert opened(first)[0].wait(10)
    vectors, store = opened(again)
    assert vectors.wait(10)
    assert (first.passages_made, again.passages_made) == (4, 0)
    assert nearest(vectors, store, "the motor runs hot")[0] == HOT.id
    assert opened(other)[0].wait(10)
    assert other.passages_made == 4, "another model's vectors are of no use"


def test_an_import_computes_only_what_is_new(opened, path):
    embedder = ToyEmbedder()
    vectors, store = opened(embedder)
    assert vectors.wait(10)
    write_all(path, [HOT, STUCK, LOW, entry("4", "Belt slips", source="d")])
    before = embedder.passages_made
    assert vectors.index(store.version) is None, "the old index is not used for the new version"
    assert vectors.wait(10)
    assert embedder.passages_made - before == 1
    assert nearest(vectors, store, "slips, the belt")[0] == "d::4"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'"])
def test_a_file_of_no_use_is_made_anew(opened, path, content):
    embedder = ToyEmbedder()
    kept = path.with_name(f"{path.name}.{embedder.key}.npy")
    kept.write_bytes(content)
    assert opened(embedder)[0].wait(10)
    assert embedder.passages_made == 4
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
    assert embedder.passages_made < 4
    assert 0 < len(np.load(path.with_name(f"{path.name}.toy-1.npy"))) < 4
    assert vectors.index(store.version) is None


def test_progress_is_told(path):
    told = []
    with contextlib.closing(Store(path)) as store:
        vectors = Vectors(store, ToyEmbedder(), lambda ready, total: told.append((ready, total)))
        with contextlib.closing(vectors):
            assert vectors.progress == (0, 0)
            assert vectors.wait(10)
    assert told == [(0, 4), (4, 4)]
    assert vectors.progress == (4, 4)


def test_a_title_without_more_is_embedded_once(opened, path):
    write_all(path, [entry("1", "Motor is hot"), entry("2", "Belt slips", causes=("The belt is worn",))])
    embedder = ToyEmbedder()
    assert opened(embedder)[0].wait(10)
    assert embedder.passages_made == 3


def test_a_base_that_cannot_be_read_leaves_the_words(opened, path, caplog):
    vectors, store = opened(ToyEmbedder())
    version = store.version
    path.write_bytes(b"rubbish")
    assert store.version == version, "the last good content serves on"
    for _ in range(3):
        assert not vectors.wait(10)
    assert caplog.text.count("searched by words alone") == 1


def test_a_search_does_not_wait_for_texts_being_read(opened, monkeypatch):
    reading, go_on = threading.Event(), threading.Event()

    def slowly(snapshot):
        reading.set()
        assert go_on.wait(10)
        return iter(())

    monkeypatch.setattr(module, "_texts_of", slowly)
    vectors, store = opened(ToyEmbedder())
    assert vectors.index(store.version) is None
    assert reading.wait(10)
    assert store.entries == 3
    go_on.set()


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
