"""The daemon, a knowledge base and a device registry that change while it runs, over a real broker."""

from __future__ import annotations

import pytest
from tests.support.daemon import Daemon, lineside

MANUALS = """{"source":"a","vendor":"Acme","unit":"drive","code":"F012","en":{"title":"Motor too hot"}}
{"source":"b","vendor":"Borea","unit":"press","code":"F012","en":{"title":"Oil level low"}}
"""
DEVICES = "device,vendor,location,safety\nL1/M1,Acme,Hall 1,The drive has two supplies.\n"
TAGS = "device,tag,name,unit,scale,hi\nL1/M1,DB10.temp,motor temperature,Cel,0.1,65\n"
BITS = "word,bit,code\nAlarms.Word1,3,F012\n"
REPORT = {
    "dev": {"id": "L1/M1"},
    "alarm": {"word": "Alarms.Word1", "bit": 3},
    "values": [{"n": "DB10.temp", "v": 712}],
}


@pytest.fixture
def daemon(tmp_path_factory):
    directory = tmp_path_factory.mktemp("devices")
    daemon = Daemon(directory, directory / "no-bundle", diagnosis={"mode": "rules"})
    daemon.start()
    yield daemon
    daemon.end()


def run(daemon, *arguments):
    done = lineside(*arguments[:1], "--config", daemon.config, *arguments[1:])
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_bit_alone_becomes_a_cited_diagnosis_without_a_restart(daemon, tmp_path):
    for name, content in (("m.jsonl", MANUALS), ("d.csv", DEVICES), ("t.csv", TAGS), ("b.csv", BITS)):
        (tmp_path / name).write_text(content)
    run(daemon, "kb", "import", tmp_path / "m.jsonl")
    answer = daemon.ask(REPORT)
    assert (answer["reason"], answer["kb"]) == ("no_kb_hit", "0")
    run(daemon, "devices", "import", tmp_path / "b.csv")
    run(daemon, "kb", "approve", "a", "b", "--by", "shift lead")
    version = run(daemon, "kb", "stats").split()[1]
    answer = daemon.ask(REPORT | {"id": "2"})
    assert (answer["status"], answer["reason"], answer["alarm"]["code"]) == ("abstain", "conflict", "F012")
    assert answer["kb"] == version
    run(daemon, "devices", "import", tmp_path / "d.csv", tmp_path / "t.csv")
    answer = daemon.ask(REPORT | {"id": "3"})
    assert (answer["status"], answer["meaning"]) == ("ok", "Motor too hot")
    assert answer["dev"] == {"id": "L1/M1", "location": "Hall 1"}
    assert answer["safety"][0] == "The drive has two supplies."
    assert [one["src"] for one in answer["evidence"] if one["kind"] == "sensor"] == ["motor temperature"]
