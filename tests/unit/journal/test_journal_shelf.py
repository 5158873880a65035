import contextlib
import json
import sqlite3
import time

import pytest
from tests.unit.journal.test_journal import LIMITS, new

from lineside.cli import main
from lineside.errors import LinesideError
from lineside.journal import Journal
from lineside.journal_shelf import find, kept, retry


@pytest.fixture
def config(tmp_path):
    config = tmp_path / "lineside.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n')
    return config


@pytest.fixture
def path(tmp_path):
    """One report of each state: 1 open, 2 poison, 3 unpublished, 4 done; of a daemon that has stopped."""
    path = tmp_path / "journal.db"
    journal = Journal(path, LIMITS)
    for number in range(1, 5):
        journal.accept(new(f"k{number}", payload=b'{"code": %d}' % number, remaining_ms=10)).result(5)
    for _ in range(3):
        journal.begin(2).result(5)
    (told,) = journal.answer(2, b'"poison"', set_aside=True).result(5).deliveries
    journal.published(told.row).result(5)
    journal.answer(3, b"no JSON \xff").result(5)
    (done,) = journal.answer(4, b'"done"').result(5).deliveries
    journal.published(done.row).result(5)
    journal.close()
    return path


def test_each_is_listed_with_its_state(path):
    assert [(one.id, one.state) for one in kept(path)] == [
        (1, "open"),
        (2, "poison"),
        (3, "unpublished"),
        (4, "done"),
    ]
    assert [one.id for one in kept(path, "poison")] == [2]


def test_it_is_read_while_a_daemon_has_it_and_not_changed(path):
    journal = Journal(path, LIMITS)
    journal.accept(new("k5")).result(5)
    assert len(list(kept(path))) == 5
    with pytest.raises(LinesideError, match="another daemon"):
        retry(path, 2)
    journal.close()


def test_what_was_set_aside_is_answered_again_to_who_asked(path):
    retry(path, 2)
    journal = Journal(path, LIMITS)
    assert [one.report for one in journal.open_reports().result(5)] == [1, 2]
    begun = journal.begin(2).result(5)
    assert (begun.payload, begun.attempts, begun.remaining_ms) == (b'{"code": 2}', 1, None)
    assert begun.waited_ns < 60e9
    assert [one.payload for one in journal.answer(2, b"anew").result(5).deliveries] == [b"anew"]
    journal.close()


def test_what_is_tried_again_after_a_reboot_is_no_older_than_that(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("report", "delivery"):
            connection.execute(
                f"UPDATE {table} SET boot_id = 'an earlier boot', received_s = received_s - 86400"
            )
    retry(path, 2)
    journal = Journal(path, LIMITS)
    assert journal.begin(2).result(5).waited_ns < 60e9
    journal.close()
    assert find(path, 2).received_s < time.time() - 86_000, "it is still shown when it came"


@pytest.mark.parametrize(("report", "said"), [(1, "it is open"), (4, "it is done"), (9, "no report 9")])
def test_no_other_is_tried_again(path, report, said):
    before = list(kept(path))
    with pytest.raises(LinesideError, match=said):
        retry(path, report)
    assert list(kept(path)) == before


def test_none_is_begun_where_there_is_none(tmp_path):
    with pytest.raises(LinesideError, match="is not there"):
        find(tmp_path / "journal.db", 1)
    assert list(tmp_path.iterdir()) == []


def test_commands(path, config, tmp_path, capsys):
    def said(*words):
        assert main(["journal", *words, "--config", str(config)]) == 0
        return capsys.readouterr().out

    assert [line.split()[:2] for line in said("list", "--state", "poison").splitlines()] == [["2", "poison"]]
    shown = json.loads(said("show", "2"))
    assert (shown["report"], shown["answer"], shown["attempts"]) == ({"code": 2}, "poison", 3)
    said("export", str(tmp_path / "all.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == [None, "poison", "no JSON \ufffd", "done"]
    assert "start the daemon" in said("retry", "2")
    assert json.loads(said("export", "--state", "open").splitlines()[1])["id"] == 2
