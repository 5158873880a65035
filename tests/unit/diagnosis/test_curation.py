import threading

import msgspec
import pytest
from tests.unit.diagnosis.diagnosis_builders import entry

from lineside.diagnosis.knowledge import curation, drafts
from lineside.diagnosis.knowledge.curation import approve, confirm, remove
from lineside.diagnosis.knowledge.drafts import Draft
from lineside.diagnosis.knowledge.entry import Confirmation
from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store
from lineside.diagnosis.knowledge.writing import read_all
from lineside.errors import LinesideError

BY = "shift lead"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "knowledge.db"


def draft(*codes, source="drive"):
    entries = tuple(entry(code, source=source) for code in codes)
    return Draft(source=source, imported_at="2026-01-01T00:00:00Z", files=("a.csv",), entries=entries)


def confirmed(code="F9", **fields):
    by = Confirmation(by=BY, at="2026-01-02T00:00:00Z", verdict="abc")
    return entry(code, source="plant", confirmed=by, **fields)


def test_a_draft_is_not_found_before_it_is_approved(path):
    drafts.save(path, draft("F1"))
    store = Store(path)
    searcher = Searcher(store)
    assert searcher.search(Query(code="F1")).verdict == "none"
    changed = approve(path, ["drive"], BY)
    assert searcher.search(Query(code="F1")).verdict == "hit"
    assert (changed.total, changed.replaced, changed.version) == (1, 0, store.version)
    assert drafts.load(path, "drive") is None


def test_a_draft_replaces_its_source_and_nothing_else(path):
    for one in (draft("F1", "F2"), draft("F1", source="press")):
        drafts.save(path, one)
    approve(path, ["drive", "press"], BY)
    drafts.save(path, draft("F3"))
    assert approve(path, ["drive"], BY).replaced == 2
    assert [one.id for one in read_all(path).entries] == ["drive::F3", "press::F1"]


def test_who_approved_what_is_remembered(path, monkeypatch):
    monkeypatch.setattr(curation, "now", lambda: "2026-01-03T00:00:00Z")
    drafts.save(path, draft("F1"))
    approve(path, ["drive"], f"  {BY} ")
    confirm(path, confirmed())
    remove(path, "drive", "B. Jones")
    ledger = read_all(path).ledger
    assert ledger.approvals == {}
    assert [(one.number, one.by, one.what) for one in ledger.history] == [
        (1, BY, "approved drive"),
        (2, BY, "confirmed plant::F9"),
        (3, "B. Jones", "removed drive"),
    ]
    assert {one.at for one in ledger.history} == {"2026-01-03T00:00:00Z"}


def test_an_approval_names_person_time_and_files(path):
    drafts.save(path, draft("F1"))
    approve(path, ["drive"], BY)
    found = read_all(path).ledger.approvals["drive"]
    assert (found.by, found.imported_at, found.files) == (BY, "2026-01-01T00:00:00Z", ("a.csv",))
    assert found.at.endswith("Z")


@pytest.mark.parametrize("by", ["", "  ", "x" * 129, "a\x1bb"])
def test_a_nameless_person_decides_nothing(path, by):
    drafts.save(path, draft("F1"))
    with pytest.raises(LinesideError, match="--by NAME"):
        approve(path, ["drive"], by)
    assert drafts.load(path, "drive") is not None
    assert not path.exists()


def test_what_was_reviewed_is_what_is_approved(path):
    drafts.save(path, draft("F1"))
    reviewed = draft("F1").digest
    drafts.save(path, draft("F1", "F2"))
    with pytest.raises(LinesideError, match="look at it again"):
        approve(path, ["drive"], BY, reviewed)
    assert approve(path, ["drive"], BY, draft("F1", "F2").digest).total == 2


def test_unknown_sources_are_named(path):
    with pytest.raises(LinesideError, match="no draft of `drive`"):
        approve(path, ["drive"], BY)
    with pytest.raises(LinesideError, match="no source `drive`"):
        remove(path, "drive", BY)


def test_a_confirmed_entry_replaces_the_one_with_its_id(path):
    confirm(path, confirmed(causes=("a",)))
    assert confirm(path, confirmed(causes=("b",))).total == 1
    assert confirm(path, confirmed("F8")).total == 2
    found = read_all(path).entries
    assert [one.kind for one in found] == ["confirmed", "confirmed"]
    assert found[1].en.causes == ("b",)


def test_an_import_leaves_confirmed_entries_alone(path):
    confirm(path, confirmed())
    drafts.save(path, draft("F9"))
    assert approve(path, ["drive"], BY).total == 2


def test_only_a_confirmed_entry_of_the_plant_can_be_confirmed(path):
    with pytest.raises(ValueError, match="no confirmed entry"):
        confirm(path, entry(source="plant"))
    with pytest.raises(ValueError, match="no confirmed entry"):
        confirm(path, msgspec.structs.replace(confirmed(), source="drive"))


def test_the_history_is_bounded(path, monkeypatch):
    monkeypatch.setattr(curation, "MAX_HISTORY", 3)
    for number in range(5):
        confirm(path, confirmed(f"F{number}"))
    assert [one.number for one in read_all(path).ledger.history] == [3, 4, 5]


def test_changes_made_at_once_lose_nothing(path):
    threads = [threading.Thread(target=confirm, args=(path, confirmed(f"F{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = read_all(path)
    assert (len(content.entries), content.version.split("-")[0]) == (6, "6")


def test_drafts_are_bounded_and_come_in_order(path, monkeypatch):
    monkeypatch.setattr(drafts, "MAX_DRAFTS", 2)
    for source in ("b", "a/../..", "b"):
        drafts.save(path, draft("F1", source=source))
    with pytest.raises(LinesideError, match="2 drafts wait"):
        drafts.save(path, draft("F1", source="c"))
    assert [one.source for one in drafts.drafts(path)] == ["a/../..", "b"]
    assert drafts.discard(path, "b")
    assert not drafts.discard(path, "b")


def test_a_damaged_draft_is_named(path):
    drafts.save(path, draft("F1"))
    file = next(path.with_name("knowledge.db.drafts").iterdir())
    file.write_bytes(b"{")
    with pytest.raises(LinesideError, match=file.name):
        drafts.load(path, "drive")


def test_an_import_that_is_approved_at_once_makes_a_draft_obsolete(path, tmp_path):
    drafts.save(path, draft("F1", source="a"))
    table = tmp_path / "a.csv"
    table.write_text("code,title\nF2,x\n")
    import_files(path, [table], ImportOptions(approve_by=BY))
    assert drafts.load(path, "a") is None


def test_a_variant_parts_entries_of_one_code(path):
    assert entry("F1", unit="u", variant="CD-40").id == "drive:u:F1@CD-40"
    assert entry("F1", variant="CD-40").citation == "drive#F1"
