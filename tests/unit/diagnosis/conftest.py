import pytest

from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.knowledge.writing import write_all


@pytest.fixture
def search(tmp_path):
    """search(entries, code=..., text=..., ...) over a real file."""

    def run(entries, max_entries=3, **query):
        path = tmp_path / "knowledge.db"
        write_all(path, entries)
        return Searcher(Store(path), max_entries).search(Query(**query))

    return run
