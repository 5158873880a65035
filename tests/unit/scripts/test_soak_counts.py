import json
import sqlite3

import pytest
from tests.support.ledger import Ledger
from tests.support.sampling import holds


@pytest.fixture
def ledger():
    return Ledger()


def heard(ledger, name, **said):
    ledger.sent(name)
    ledger.accepted(name)
    ledger.answered(name, json.dumps(said).encode())


def test_whoever_got_no_diagnosis_is_counted_by_the_reason(ledger):
    heard(ledger, "a", status="ok")
    heard(ledger, "b", status="abstain", reason="conflict")
    heard(ledger, "c", status="error", reason="poison")
    heard(ledger, "d", status="error", reason="overload")
    ledger.sent("e")
    ledger.answered("e", b'"some words"')
    ledger.sent("f")
    assert ledger.outcomes() == {"diagnosis": 1, "abstention": 1, "poison": 1, "overload": 1, "text": 1}


def test_who_came_back_is_counted_by_what_came_of_that(ledger):
    heard(ledger, "a", status="error", reason="overload")
    heard(ledger, "a", status="ok")
    assert ledger.outcomes() == {"diagnosis": 1}


def test_an_answer_to_a_repeat_of_an_earlier_load_is_none_of_this_one(ledger):
    ledger.answered("earlier", b'{"status": "ok"}')
    assert ledger.outcomes() == {}


def test_what_a_journal_holds_is_counted_over_all_tables_and_without_free_pages(tmp_path):
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("PRAGMA journal_mode = WAL")
    for name in ("report", "delivery"):
        connection.execute(f"CREATE TABLE {name} (content BLOB)")
        connection.executemany(f"INSERT INTO {name} VALUES (?)", [(bytes(4000),)] * 500)
    connection.commit()
    rows, full_mb = holds(tmp_path / "journal.db")
    connection.execute("DELETE FROM report")
    connection.commit()
    left, used_mb = holds(tmp_path / "journal.db")
    assert (rows, left) == (1000, 500)
    assert used_mb < full_mb * 0.6
    connection.close()
