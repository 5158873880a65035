"""Saved under load, put back elsewhere: what was answered before is answered the same."""

import json
import subprocess

import pytest
from tests.support.daemon import Daemon, lineside

from lineside.cli import main

WATCHED, LATER = 10, 40
DEVICE, OTHER = "L1/CD-07", "L1/CD-08"


@pytest.fixture
def daemons(tmp_path):
    """Two installations by rules; the first one runs, with manuals."""
    pair = [
        Daemon(tmp_path / name, tmp_path / "none", diagnosis={"mode": "rules"}) for name in ("one", "two")
    ]
    pair[0].import_demo()
    pair[0].start()
    yield pair
    for daemon in pair:
        daemon.end()


def reports(numbers, device):
    """One a line, as mosquitto_pub -l sends them."""
    lines = ({"id": f"r{n}", "dev": {"id": device}, "alarm": {"code": "F012"}} for n in numbers)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def publisher(daemon, device):
    command = [
        "mosquitto_pub",
        "-p",
        str(daemon.mqtt_port),
        "-q",
        "1",
        "-t",
        f"lineside/v1/fault/{device}",
        "-l",
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def answered(daemon, numbers):
    with daemon.subscribe(f"lineside/v1/diagnosis/{DEVICE}", len(numbers)) as subscription:
        assert publisher(daemon, DEVICE).communicate(reports(numbers, DEVICE), timeout=30) == (None, None)
        found = map(json.loads, subscription.wait())
    return {answer["id"]: answer for answer in found}


def command(*arguments):
    done = lineside(*arguments)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def refusal(capsys, *arguments):
    """Why the command does not; within this process, for it starts no other."""
    assert main(list(map(str, arguments))) == 1
    return capsys.readouterr().err


def test_under_load_and_onto_another_directory(daemons, tmp_path, capsys):
    one, two = daemons
    archive = tmp_path / "backup"
    before = answered(one, range(WATCHED))
    assert len(before) == WATCHED
    with one.subscribe(f"lineside/v1/diagnosis/{OTHER}", LATER) as subscription:
        load = publisher(one, OTHER)
        load.stdin.write(reports(range(LATER), OTHER))
        load.stdin.flush()
        code, shown, said = command("backup", "--json", archive, "--config", one.config)
        load.communicate(timeout=30)
        assert len(subscription.wait()) == LATER, "nobody's answer was lost to the copying"
    assert code == 0, said
    assert {"journal.db", "knowledge.db"} <= {file["name"] for file in json.loads(shown)["manifest"]["files"]}

    assert "another daemon is running" in refusal(capsys, "restore", archive, "--config", one.config)
    one_knowledge = one.status().knowledge_version
    one.stop()
    assert "--keep-configuration" in refusal(capsys, "restore", archive, "--config", two.config)
    code, shown, said = command("restore", archive, "--keep-configuration", "--config", two.config)
    assert code == 0, said
    assert "have to be there already" in shown

    two.start()
    assert answered(two, range(WATCHED)) == before
    assert two.status().knowledge_version == one_knowledge
