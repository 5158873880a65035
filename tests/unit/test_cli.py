"""The command's arguments, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.cli import main
from lineside.ports import EngineFacts, StatusFacts
from lineside.transport.grpc import client

ENTRIES = (
    '{"vendor":"A","unit":"a","code":"E1","en":{"title":"Motor overtemperature"}}\n'
    '{"vendor":"B","unit":"b","code":"E1","en":{"title":"Filter clogged"}}\n'
)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "lineside.toml"
    path.write_text(f'state_dir = "{tmp_path / "state"}"\n')
    manual = tmp_path / "manual.jsonl"
    manual.write_text(ENTRIES)
    assert main(["kb", "import", str(manual), "--approve-by", "shift lead", "--config", str(path)]) == 0
    return str(path)


def test_the_configuration_may_be_named_before_and_after_the_action(config, capsys):
    for arguments in (
        ["kb", "--config", config, "search", "filter clogged"],
        ["kb", "search", "--config", config, "filter clogged"],
    ):
        capsys.readouterr()
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith("hit (version 1-")


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["motor noise"], ["none (version", "nothing certain; nearest:", "  0."]),
        (
            ["--code", "E1"],
            ["conflict (version", "several entries fit; add --vendor, --model or --unit", "  1."],
        ),
    ],
)
def test_a_search_without_a_hit_says_what_its_list_is(config, capsys, arguments, lines):
    capsys.readouterr()
    assert main(["kb", "search", "--config", config, *arguments]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert all(line.startswith(start) for line, start in zip(printed, lines, strict=False))
    assert len(printed) >= len(lines)


def diagnosis(text: str) -> bytes:
    document = {"id": "1", "diagnosis_id": "1", "dev": {"id": "d"}, "alarm": {}, "received_at": ""}
    document |= {"status": "ok", "mode": "rules", "severity": "high", "lang": "en", "meaning": text}
    return json.dumps(document).encode()


def test_an_answer_in_a_pipe_is_not_wrapped(tmp_path, monkeypatch, capsys):
    report = tmp_path / "report.json"
    report.write_text("{}")
    meaning = "the fan has stopped " * 20
    monkeypatch.setattr(client, "diagnose", lambda *_: diagnosis(meaning))
    assert main(["diagnose", str(report), "--address", "127.0.0.1:1"]) == 0
    assert meaning.strip() in capsys.readouterr().out.splitlines()


def test_the_status_shows_what_is_known_to_the_tenth_of_a_second(monkeypatch, capsys):
    engine = EngineFacts("onnxruntime", "cpu", "m", "int8", 1, 64, 0, 1, 0, 0, 1.5, 2.5)
    facts = StatusFacts("1", "ready", "", 12.3456, engine, "1", 2, "", True, True, 0, 0, {"answers": 3})
    monkeypatch.setattr(client, "status", lambda _: facts)
    assert main(["status", "--address", "127.0.0.1:1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["uptime_s"] == 12.3
    assert "vocab_size" not in shown["engine"]
    assert shown["engine"]["step_ms"] == 1.5
    assert shown["counters"] == {"answers": 3}


def test_a_reader_that_has_enough_is_no_error(config):
    command = [Path(sys.executable).parent / "lineside", "kb", "--config", config, "stats"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody_reads:
        ended = subprocess.run(command, stdout=nobody_reads, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (141, "")
