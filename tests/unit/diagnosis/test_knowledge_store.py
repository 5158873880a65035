import sqlite3

import pytest
from tests.unit.diagnosis.diagnosis_builders import entry

from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Snapshot, Store
from lineside.diagnosis.knowledge.terms import query_terms
from lineside.diagnosis.knowledge.writing import read_all, write_all
from lineside.errors import LinesideError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "knowledge.db"


def test_a_missing_file_is_empty_and_may_appear_later(path):
    store = Store(path)
    assert (store.version, store.entries) == ("0", 0)
    write_all(path, [entry()])
    assert store.entries == 1


def test_looking_at_a_missing_file_leaves_none(path):
    with pytest.raises(LinesideError, match="No such file"):
        Snapshot(path)
    assert not path.exists()


def test_an_import_is_seen_by_an_open_store(path):
    write_all(path, [entry("F001")])
    store = Store(path)
    searcher = Searcher(store)
    assert searcher.search(Query(code="F002")).verdict == "none"
    write_all(path, [entry("F002")], store.version)
    assert searcher.search(Query(code="F002")).verdict == "hit"
    assert searcher.search(Query(code="F001")).verdict == "none"


def test_the_version_counts_imports_and_names_the_content(path):
    first = write_all(path, [entry("F001")])
    second = write_all(path, [entry("F002")], first)
    third = write_all(path, [entry("F001")], second)
    assert [version.split("-")[0] for version in (first, second, third)] == ["1", "2", "3"]
    assert first.split("-")[1] == third.split("-")[1] != second.split("-")[1]
    assert Store(path).version == third


def test_the_order_of_entries_does_not_change_the_digest(path):
    one, two = entry("F001"), entry("F002")
    assert write_all(path, [one, two]) == write_all(path, [two, one])


def test_entries_come_back_as_they_went_in(path):
    entries = [
        entry("F001", severity="high", causes=("a", "b")),
        entry("急停", unit="u", vendor="V", model="M"),
    ]
    write_all(path, entries)
    assert read_all(path)[0] == sorted(entries, key=lambda one: one.id)


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 2000])
def test_a_corrupt_file_is_refused_with_what_to_do(path, content):
    path.write_bytes(content)
    with pytest.raises(LinesideError, match="kb import"):
        Store(path)


def test_another_schema_version_is_refused(path):
    write_all(path, [entry()])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE fact SET value = '99' WHERE name = 'schema_version'")
    db.close()
    with pytest.raises(LinesideError, match="schema version 99"):
        Store(path)


def test_an_unusable_file_does_not_take_the_good_content_away(path, tmp_path, caplog):
    write_all(path, [entry()])
    store = Store(path)
    bad = tmp_path / "bad"
    bad.write_bytes(b"garbage")
    bad.replace(path)
    assert store.entries == store.entries == 1
    assert [record.message for record in caplog.records if "last good content" in record.message] != []
    assert len(caplog.records) == 1
    write_all(path, [entry("F001"), entry("F002")])
    assert store.entries == 2


def test_a_removed_file_leaves_the_content(path):
    write_all(path, [entry()])
    store = Store(path)
    path.unlink()
    assert store.entries == 1


def test_the_daemon_never_writes(path):
    write_all(path, [entry()])
    path.chmod(0o444)
    before = sorted(one.name for one in path.parent.iterdir())
    Searcher(Store(path)).search(Query(code="F012", text="motor"))
    assert sorted(one.name for one in path.parent.iterdir()) == before


def test_a_failed_write_leaves_the_file_and_no_litter(path, monkeypatch):
    version = write_all(path, [entry("F001")])
    monkeypatch.setattr("lineside.diagnosis.knowledge.writing.code_keys", lambda code: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_all(path, [entry("F002")])
    assert Store(path).version == version
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(LinesideError, match=r"knowledge\.path"):
        write_all(tmp_path / "missing" / "knowledge.db", [entry()])


def test_too_many_entries_are_refused(path, monkeypatch):
    monkeypatch.setattr("lineside.diagnosis.knowledge.writing.MAX_ENTRIES", 1)
    with pytest.raises(LinesideError, match="at most 1"):
        write_all(path, [entry("F001"), entry("F002")])
    assert not path.exists()


def test_terms_cannot_break_the_query_language(path):
    write_all(path, [entry()])
    searcher = Searcher(Store(path))
    for text in ('" OR title:*', "NEAR(a b)", "a AND NOT b", "') --", '急停" *', "\x00motor"):
        assert searcher.search(Query(text=text)).verdict in ("hit", "none")


def test_a_term_is_counted_in_how_many_entries_it_stands(path):
    write_all(
        path, [entry("F1", "Motor motor hot"), entry("F2", "Motor"), entry("F3", "Fan", causes=("motor",))]
    )
    with Store(path).snapshot() as snapshot:
        (motor,) = query_terms("motor")
        assert snapshot.document_counts([motor, "hot", "nothing"]) == {motor: 3, "hot": 1}


def test_a_text_that_stands_in_a_large_base_is_found_by_words_that_none_alone_tells(path):
    rare = [entry(f"F{n}", f"{'Motor hot' if n % 2 else 'Fan slow'} at station {n % 3}") for n in range(300)]
    write_all(path, [*rare, entry("X1", "Motor slow at station 2")])
    found = Searcher(Store(path)).search(Query(text="Motor slow at station 2"))
    assert (found.candidates[0].entry.code, found.candidates[0].score) == ("X1", 1.0)
