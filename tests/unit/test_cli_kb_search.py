"""`lineside kb search` and `kb embed` over a real knowledge base."""

from __future__ import annotations

import sys
import threading

import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.diagnosis.diagnosis_builders import entry, text

from lineside import cli_kb_search, loading
from lineside.cli import main
from lineside.diagnosis.knowledge.writing import write_all


@pytest.fixture
def kb(tmp_path, capsys):
    """kb(arguments...) -> (exit status, standard output, standard error)"""
    config, bundle = tmp_path / "lineside.toml", tmp_path / "bundle"
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n[bundle]\npath = "{bundle}"\n')
    bundle.mkdir()
    (tmp_path / "state").mkdir()
    entries = [entry("1", "Motor is hot", zh=text("电机过热")), entry("2", None, zh=text("皮带打滑"))]
    write_all(tmp_path / "state/knowledge.db", entries)

    def run(*arguments):
        status = main(["kb", "--config", str(config), *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def embedder(monkeypatch):
    made = ToyEmbedder()
    monkeypatch.setattr(loading, "load_embedder", lambda config: made)
    return made


def test_without_an_embedder_the_words_are_searched(kb):
    status, out, err = kb("search", "motor is hot")
    assert (status, out.splitlines()[0][:3], err) == (0, "hit", "")


def test_a_broken_bundle_is_told_and_the_words_are_searched(kb, tmp_path):
    (tmp_path / "bundle/bundle.toml").write_text("schema_version = rubbish")
    status, out, err = kb("search", "motor is hot")
    assert (status, out.splitlines()[0][:3]) == (0, "hit")
    assert err.startswith("searched by words alone: ")
    assert "build it again: lineside-build" in err
    assert kb("search", "--code", "1")[2] == "", "a code needs no embedder"


def test_a_missing_library_is_told_and_the_words_are_searched(kb, monkeypatch):
    monkeypatch.setitem(sys.modules, "lineside.loading", None)
    status, out, err = kb("search", "motor is hot")
    assert (status, out.splitlines()[0][:3]) == (0, "hit")
    assert "searched by words alone: the embedder's library is missing" in err
    assert "pip install 'lineside[cpu]'" in err


def test_an_embedder_that_fails_leaves_the_words(kb, embedder, monkeypatch, caplog):
    def fail(text):
        raise RuntimeError("no memory")

    monkeypatch.setattr(embedder, "query", fail)
    status, out, _ = kb("search", "motor is hot")
    assert (status, out.splitlines()[0][:3]) == (0, "hit")
    assert caplog.text.count("searched for by words alone") == 1


def test_a_search_does_not_wait_for_all_vectors(kb, embedder, monkeypatch):
    monkeypatch.setattr(cli_kb_search, "SEARCH_WAIT_S", 0.01)
    embedder.hold = threading.Event()
    threading.Timer(0.3, embedder.hold.set).start()
    status, out, err = kb("search", "motor is hot")
    assert (status, out.splitlines()[0][:3]) == (0, "hit")
    assert "of 3 texts have vectors; a running daemon makes them, or `lineside kb embed`" in err


def test_vectors_are_made_beforehand(kb, embedder):
    status, out, _ = kb("embed")
    assert (status, out, embedder.passages_made) == (0, "3 texts have vectors\n", 3)
    assert kb("search", "the belt slips")[1].splitlines()[1].endswith("皮带打滑")
    assert embedder.passages_made == 3


def test_without_an_embedder_there_are_no_vectors_to_make(kb):
    status, _, err = kb("embed")
    assert status == 1
    assert "carries no embedder" in err
    assert "--embedder multilingual-e5-small" in err
