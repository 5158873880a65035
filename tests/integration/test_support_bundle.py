"""A support bundle of a real daemon that has seen secrets and payloads: neither is in it."""

import json
import os
import re
import tarfile

import pytest
from tests.support.daemon import Daemon, lineside

SECRET, PAYLOAD, TEXT = "correct-horse-battery", "spindle howls at dawn", "Clean or replace the fan filter"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """By rules, at log level debug, with everything planted that may not come out, until a test stops it."""
    tmp_path = tmp_path_factory.mktemp("support")
    daemon = Daemon(tmp_path, tmp_path / "none", diagnosis={"mode": "rules"})
    daemon.import_demo()
    daemon.start()
    report = {"id": "p1", "dev": {"id": "L1/CD-07"}, "alarm": {"code": "F012", "text": PAYLOAD}}
    answer = daemon.ask({**report, "log": [PAYLOAD]})
    assert (answer["status"], TEXT in json.dumps(answer)) == ("ok", True), (
        "the daemon has had both in its hands"
    )
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/mqtt-password").write_text(SECRET)
    with daemon.log.open("a") as log:
        log.write(f"WARNING the broker said {SECRET} at {os.uname().nodename}\n")
    yield daemon
    daemon.end()


def bundle(daemon, *options):
    """Its files, by name."""
    target = daemon.directory / "support.tar.gz"
    done = lineside("support-bundle", target, "--log", daemon.log, "--config", daemon.config, *options)
    assert done.returncode == 0, done.stderr.decode()
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        return {member.name.split("/")[1]: tar.extractfile(member).read().decode() for member in tar}


def test_what_helps_is_in_it_and_nothing_else(daemon):
    files = bundle(daemon)
    everything = "".join(files.values())
    for planted in (SECRET, PAYLOAD, TEXT):
        assert planted not in everything
    # As a word: some machines have names as short as "vm".
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", everything)
    assert json.loads(files["status.json"])["state"] == "ready"
    assert json.loads(files["journal.json"])["answered"] == 1
    assert json.loads(files["feedback.json"])["diagnoses"] == 1
    assert json.loads(files["knowledge.json"])["entries"] > 0
    assert json.loads(files["versions.json"])["packages"]["msgspec"]
    assert "total" in json.loads(files["board.json"])
    assert json.loads(files["configuration.json"])["grpc"]["port"] == daemon.grpc_port
    assert "the broker said (secret) at (host)" in files["log.txt"]
    assert "ready" in files["log.txt"], "the rest of the log is readable"
    assert files["units.txt"]
    assert {one["name"] for one in json.loads(files["doctor.json"])["findings"]} > {"journal.file"}


def test_what_is_broken_is_said_and_the_rest_is_there(daemon):
    daemon.stop()
    elsewhere = daemon.directory / "password"
    elsewhere.write_text("another-secret")
    daemon.config.write_text(f"[mqtt]\nuser = 'press-user'\nprt = 1\npassword_file = \"{elsewhere}\"\n")
    with daemon.log.open("a") as log:
        log.write("press-user may not come in with another-secret\n")
    files = bundle(daemon, "--with-hosts")
    assert "(secret) may not come in with (secret)" in files["log.txt"]
    assert "prt" in json.loads(files["configuration.json"])["failed"]
    assert "is the daemon running" in json.loads(files["status.json"])["failed"]
    assert json.loads(files["versions.json"])["lineside"]
    assert f"the broker said (secret) at {os.uname().nodename}" in files["log.txt"]


def test_a_machine_that_has_nothing_yet_is_left_as_it_was(tmp_path):
    empty = Daemon(tmp_path, tmp_path / "none", diagnosis={"mode": "rules"})
    empty.log.touch()
    before = set(tmp_path.rglob("*"))
    assert "No such file" in json.loads(bundle(empty)["knowledge.json"])["failed"]
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "support.tar.gz"}
